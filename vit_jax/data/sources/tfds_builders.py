"""TFDS builders: finding and preparing data sets."""

import os
import re

import tensorflow_datasets as tfds

from vit_jax import errors
from vit_jax.data.sources import digits

OWN_BUILDERS = (digits.Digits,)  # Defining one registers it.

ARRAY_RECORD = tfds.core.FileFormat.ARRAY_RECORD
TFRECORD = tfds.core.FileFormat.TFRECORD


def builder(dataset, data_dir):
  """Returns TFDS's builder of a data set, prepared or not.

  Args:
    dataset: name, as in 'cifar10:3.*.*' or 'sun397/tfds'.
    data_dir: folder of data sets; None: TFDS's own.

  Raises:
    UserError: there is no such data set, configuration or version.
  """
  data_dir = data_dir and os.path.expanduser(data_dir)
  try:
    return tfds.builder(dataset, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    name = re.split('[/:]', dataset)[0]
    known = tfds.list_builders(with_community_datasets=False)
    raise errors.UserError(
      f'data.dataset={dataset!r}: TFDS knows no such data set and '
      f'{data_dir or tfds.core.constants.DATA_DIR} holds none. '
      f'{errors.nearest(name, known)}'
    ) from error
  except (ValueError, AssertionError, ImportError) as error:
    # A missing version or configuration, a malformed name, or a data set whose
    # code needs a package; TFDS says which.
    raise errors.UserError(
      f'data.dataset={dataset!r} does not fit TFDS: {error}'
    ) from error


def is_prepared(builder):
  """Returns whether the data set is on disk, in whatever format."""
  return builder.data_path.exists() and builder.is_prepared()


def manual_dir(data_dir):
  """Returns the folder in which TFDS expects manual downloads."""
  root = data_dir or os.fspath(tfds.core.constants.DATA_DIR)
  return os.path.join(os.path.expanduser(root), 'downloads', 'manual')


def prepare(builder):
  """Downloads and prepares the data set, unless it is there.

  Raises:
    UserError: that failed; says why and what to do.
  """
  if is_prepared(builder):
    return
  try:
    builder.download_and_prepare(file_format=ARRAY_RECORD)
  # Preparing runs the data set's own code, which may fail in any way.
  except Exception as error:
    raise errors.UserError(
      f'{builder.name} is not in {os.fspath(builder.data_path)} and can not be '
      f'prepared there: {type(error).__name__}: {error}\n{_advice(error)}'
    ) from error


def file_format(builder):
  """Returns the format to read a prepared data set in.

  Raises:
    UserError: there is none that allows random access.
  """
  formats = builder.info.available_file_formats()
  for format in ARRAY_RECORD, TFRECORD:
    if format in formats:
      return format
  where = os.fspath(builder.data_path)
  found = ' and '.join(sorted(format.value for format in formats))
  raise errors.UserError(
    f'{builder.name} is in {where} as {found}, which does not allow random '
    'access. Give another data.data_dir, to have it prepared there '
    f'as {ARRAY_RECORD.value}, or convert it with `tfds convert_format '
    f'--dataset_version_dir={where} --out_file_format={ARRAY_RECORD.value}`.'
  )


def _advice(error):
  if isinstance(error, ImportError):
    return (
      'Preparing this data set needs a package that is not installed '
      '(TensorFlow: pip install tensorflow); reading it afterwards does not.'
    )
  return (
    'It can be prepared on another machine, with `tfds build '
    f'--file_format={ARRAY_RECORD.value}`, and copied; data.data_dir says '
    'where to look. Files that have to be downloaded by hand go where the '
    'message says.'
  )
