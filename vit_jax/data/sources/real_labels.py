"""ImageNet's reassessed labels ('ReaL'; Beyer et al., 2020), as data.

`real.json` is a list of the labels of each validation image, in the order of
their file names: the first is of ILSVRC2012_val_00000001.JPEG.
"""

import dataclasses
import os
import re

import numpy as np

from vit_jax import errors, files
from vit_jax.data import sources

ADDRESS = (
  'https://raw.githubusercontent.com/google-research/reassessed-imagenet/'
  'master/real.json'
)
NUM_CLASSES = 1000
MAX_BYTES = 4 << 20  # The released file has a quarter of it.
# Those of TFDS that have the name of each file.
DATASETS = ('imagenet2012', 'imagenet2012_real')

_NAME = re.compile(r'ILSVRC2012_val_(\d{8})\.')


def read(path):
  """Returns the labels, int32 [images, most labels], padded with -1.

  Raises:
    UserError: the file is not a list of lists of class indices.
  """
  try:
    lists = files.read_json(path, MAX_BYTES)
    if not all(type(each) is int for own in lists for each in own):
      raise ValueError('a label is no whole number')
    counts = [len(each) for each in lists]
    if max(counts) > NUM_CLASSES:
      raise ValueError(f'an image has {max(counts)} labels')
    table = np.full((len(lists), max(counts)), -1, np.int32)
    for row, own in zip(table, lists):
      row[: len(own)] = own
  except (OSError, ValueError, TypeError, OverflowError) as error:
    raise _unlike(path, getattr(error, 'strerror', None) or error) from error
  flat = np.concatenate([row[:count] for row, count in zip(table, counts)])
  if not len(flat) or flat.min() < 0 or flat.max() >= NUM_CLASSES:
    raise _unlike(path, f'a label is not 0 to {NUM_CLASSES - 1}')
  return table


def number(name):
  """Returns the row of an image in `read`'s table.

  Args:
    name: of its file, str or bytes; folders in it are ignored.

  Raises:
    UserError: it is not named like ImageNet's validation images.
  """
  name = os.fsdecode(name)
  match = _NAME.match(os.path.basename(name))
  if not match:
    raise errors.UserError(
      f'{name} is no validation image of ImageNet, and so has no reassessed '
      'label; these are named ILSVRC2012_val_00000001.JPEG and so on.'
    )
  return int(match[1]) - 1


def build(data, split, num_images):
  """Returns the source of a split whose labels are the numbers of its images.

  Args:
    data: the part `data` of the configuration.
    split: name of the split, or slices of some.
    num_images: number of rows of `read`'s table.

  Raises:
    UserError: there are no file names, or they are of other images; see also
      `sources.build`.
  """
  source = sources.build(data, split)
  if data.source == 'folder':
    numbers = np.array([number(name) for name in source.names], np.int32)
    if numbers.min() < 0 or numbers.max() >= num_images:
      raise errors.UserError(
        f'{source.where(int(numbers.argmax()))} has no reassessed label; there '
        f'are {num_images} lists of labels.'
      )
    return dataclasses.replace(
      source, labels=numbers, class_names=None, num_classes=num_images
    )
  if data.source == 'tfds' and data.dataset.partition(':')[0] in DATASETS:
    import tensorflow_datasets as tfds  # Which such a source has imported.

    return source.relabelled(
      'file_name', tfds.features.Text(), _number_of_example, num_images
    )
  raise errors.UserError(
    f'Reassessed labels go by file name, which {data.dataset} does not have; '
    f'use {" or ".join(DATASETS)} of TFDS, or a folder of the images.'
  )


def _number_of_example(example):
  return number(example['file_name'])


def _unlike(path, what):
  return errors.UserError(
    f'{path} is not a list of the labels of each image, as real.json of '
    f'{ADDRESS}: {what}.'
  )
