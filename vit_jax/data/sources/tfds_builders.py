"""The catalogue of TensorFlow Datasets: finding and preparing data sets.

One data set is our own, `Digits`; to define it is to register it.
"""

import io
import os
import re

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from vit_jax import errors, files
from vit_jax.data.datasets import digits
from vit_jax.data.sources import tfds_metadata

ARRAY_RECORD = tfds.core.FileFormat.ARRAY_RECORD
TFRECORD = tfds.core.FileFormat.TFRECORD

_NUM_TRAIN = 1437  # The last fifth, by other writers, is for testing.


class Digits(tfds.core.GeneratorBasedBuilder):
  """The handwritten digits that come with this package, see `digits`.

  They are small enough to learn on a laptop, and walk the same road as
  ImageNet. Splits `train` and `test`, in the original order; labels 0 to 9.
  """

  name = 'digits'
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      description='1,797 handwritten digits of 8 x 8 pixels.',
      homepage='https://archive.ics.uci.edu/dataset/80',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(8, 8, 3), encoding_format='png'),
          'label': tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=('image', 'label'),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    images, labels = digits.load()
    pixels = np.rint(images * (255 / 16)).astype(np.uint8)
    examples = list(zip(pixels, labels.tolist()))
    return {
      'train': self._generate_examples(examples[:_NUM_TRAIN]),
      'test': self._generate_examples(examples[_NUM_TRAIN:]),
    }

  def _generate_examples(self, examples):
    for index, (pixels, label) in enumerate(examples):
      # TFDS takes a file as it is; to encode an array it wants TensorFlow.
      file = io.BytesIO()
      Image.fromarray(pixels).convert('RGB').save(file, 'PNG')
      file.seek(0)
      yield index, {'image': file, 'label': label}


def builder(dataset, data_dir):
  """Returns TFDS's builder of a data set, prepared or not.

  Args:
    dataset: name, as in 'cifar10:3.*.*' or 'sun397/tfds'.
    data_dir: folder of data sets; None: TFDS's own.

  Raises:
    UserError: there is no such data set, configuration or version; or its
      files are none that TFDS has written: see `tfds_metadata`.
  """
  data_dir = data_dir and os.fspath(files.path(os.path.expanduser(data_dir)))
  tfds_metadata.check(dataset, data_dir)
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
  # A missing version or configuration, a malformed name, a data set whose code
  # needs a package: TFDS says which. Its files can make it raise anything.
  except Exception as error:
    kind = '' if isinstance(error, ValueError) else f'{type(error).__name__}: '
    raise errors.UserError(
      f'data.dataset={dataset!r} does not fit TFDS: {kind}{error}'
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
  if files.is_remote(builder.data_path):
    raise errors.UserError(
      f'{builder.name} is not in {os.fspath(builder.data_path)}, and data sets '
      'are prepared on a disk: prepare it there, by `vit_jax prepare` and '
      'another --data_dir, and copy its folder.'
    )
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
