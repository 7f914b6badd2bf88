"""orbax on disks and in object stores.

orbax writes to gs:// as it does to a disk, but knows no s3://, although
TensorStore, which writes the arrays for it, does. It asks two functions of its
own which driver of TensorStore a path needs; they are taught here.
"""

import functools
import os

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint._src.serialization import tensorstore_utils

from vit_jax import errors, files
from vit_jax.files import folders

WRITTEN = 'commit_success.txt'  # In a store, what orbax writes last.
_S3 = 's3:/'  # As orbax normalizes s3://.


def path(name):
  """Returns a path as orbax takes it.

  Raises:
    UserError: this orbax can't be taught to use its store.
  """
  if str(name).startswith(_S3):
    _teach_s3()
  return epath.Path(os.fspath(name))


def is_written(step_dir):
  """Returns whether orbax has come to the end of a folder in a store."""
  return (step_dir / WRITTEN).exists()


def save(folder, tree):
  """Writes a tree of arrays, replacing a folder.

  Raises:
    OSError: it can't be written.
  """
  with ocp.StandardCheckpointer(atomicity_options=_atomicity(folder)) as orbax:
    if files.is_remote(folder):
      folders.remove(folder, first=[WRITTEN])
    orbax.save(path(folder), tree, force=not files.is_remote(folder))


def checkpointer(directory):
  """Returns an orbax checkpointer that writes in the background.

  In a store, what it writes stands under its final name at once: there is no
  renaming.

  Args:
    directory: of all checkpoints.
  """
  atomicity = _atomicity(directory)
  # Named, or orbax waits for all of them by computing on the devices: in a
  # thread of its own, while each process trains at its own pace.
  together = ocp.options.MultiprocessingOptions(
    active_processes=set(range(jax.process_count()))
  )
  options = {
    'atomicity_options': atomicity,
    'multiprocessing_options': together,
  }
  handler = ocp.CompositeCheckpointHandler(
    composite_options=ocp.CompositeOptions(**options)
  )
  return ocp.AsyncCheckpointer(handler, **options)


def _atomicity(folder):
  mode = ocp.options.AtomicityMode
  return ocp.options.AtomicityOptions(
    mode=mode.COMMIT_FILE if files.is_remote(folder) else mode.ATOMIC_RENAME
  )


@functools.cache
def _teach_s3():
  try:
    is_native = tensorstore_utils._use_gcs_driver
    native = tensorstore_utils.gcs_utils.get_kvstore_for_gcs
  except AttributeError as error:
    raise errors.UserError(
      'This version of orbax-checkpoint can not use s3:// with vit_jax: take '
      'the one that it was installed with, or gs:// or a disk.'
    ) from error

  def use_driver(directory):
    return directory.startswith(_S3) or is_native(directory)

  def spec(directory):
    return _s3(directory) if directory.startswith(_S3) else native(directory)

  tensorstore_utils._use_gcs_driver = use_driver
  tensorstore_utils.gcs_utils.get_kvstore_for_gcs = spec


def _s3(directory):
  """Returns the spec of TensorStore for a path as orbax normalizes it."""
  bucket, _, key = directory.removeprefix(_S3).lstrip('/').partition('/')
  spec = {'driver': 's3', 'bucket': bucket, 'path': key}
  variables = os.environ
  endpoint = variables.get('AWS_ENDPOINT_URL_S3') or variables.get(
    'AWS_ENDPOINT_URL'
  )
  if endpoint:  # As boto has it, which TensorStore does not read.
    region = variables.get('AWS_REGION') or variables.get('AWS_DEFAULT_REGION')
    spec |= {'endpoint': endpoint, 'aws_region': region or 'us-east-1'}
  return spec
