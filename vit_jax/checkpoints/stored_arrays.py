"""What a folder of orbax says it holds, judged before any array is read.

TensorStore allocates whatever a few bytes claim, zeros for chunks that are not
there, and ends the process where that is too much. Shapes, chunks, names and
the files themselves are therefore checked first.
"""

import math
import os
import pathlib
import stat

import jax
import orbax.checkpoint as ocp

from vit_jax import files, pytrees
from vit_jax.checkpoints import orbax_stores
from vit_jax.files import folders

MAX_COMPRESSION = 64  # Times the bytes on the disk; trained numbers reach 2.
_SMALL = 64 << 20  # Bytes that any folder may unpack to.
_MAX_TEXT = 16 << 20  # Bytes of what describes the numbers.
# What is read whole; of other files, as much as is asked for.
_TEXTS = (
  *('_METADATA', '_CHECKPOINT_METADATA', '_sharding', 'array_metadatas'),
  *('manifest.ocdbt', '.zarray', 'zarr.json'),
)


def shapes(folder, kinds=None):
  """Returns {path: shape and dtype} of the arrays in a folder.

  Args:
    folder: as orbax writes it, of leaves.
    kinds: {path: shape and dtype} that some of them must have, or None.

  Raises:
    ValueError: it claims what the files can not hold, or what `kinds` is not.
    Exception: orbax can't read it.
  """
  num_bytes = _check_files(files.path(folder))
  tree = ocp.PyTreeCheckpointHandler().metadata(orbax_stores.path(folder)).tree
  found = {}
  for path, leaf in pytrees.flatten(tree).items():
    if not hasattr(leaf, 'shape'):
      continue
    _check_name(path)
    _check_chunks(path, leaf)
    found[path] = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
  for path, kind in (kinds or {}).items():
    if found.get(path) != kind:
      raise ValueError(f'{path} is stored as {found.get(path)}, not {kind}')
  claimed = sum(
    math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in found.values()
  )
  if claimed > max(_SMALL, MAX_COMPRESSION * num_bytes):
    raise ValueError(
      f'its {num_bytes} bytes claim to hold {claimed} bytes of numbers'
    )
  return found


def _check_files(folder):
  """Returns the bytes in a folder, all of them in regular files of its own."""
  if not files.is_remote(folder):
    _check_regular(folder)
  sizes = folders.walk(folder)
  for path, size in sizes.items():
    inner = pathlib.PurePath(path.relative_to(folder))
    if not set(inner.parts).isdisjoint(_TEXTS) and size > _MAX_TEXT:
      raise ValueError(f'{path} has over {_MAX_TEXT} bytes')
  return sum(sizes.values())


def _check_regular(folder):
  for parent, inner, names in os.walk(folder):
    for name in (*inner, *names):
      mode = os.lstat(os.path.join(parent, name)).st_mode
      if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise ValueError(
          f'{os.path.join(parent, name)} is a link or no file, which is never '
          'read'
        )


def _check_name(path):
  """Refuses the name of an array that could be one of a file elsewhere."""
  if not path.isprintable() or any(
    part in ('', '.', '..') for part in path.split('/')
  ):
    raise ValueError(f'{path!r} is no name of an array')


def _check_chunks(path, leaf):
  """Refuses chunks that are larger than the array: they are read whole."""
  chunk = getattr(leaf.storage, 'chunk_shape', None)
  if chunk is not None and math.prod(chunk) > max(1, math.prod(leaf.shape)):
    raise ValueError(f'{path} of {leaf.shape} is stored in chunks of {chunk}')
