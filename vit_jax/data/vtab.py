"""The 19 tasks of VTAB-1k: their data sets, frozen splits and labels.

Zhai et al. (2019). A task is trained on 1,000 examples: `train800` for training
and `val200` for choosing, both together as `train`; `test` is for the result.
The splits are those of the released ViT configurations (scenic's plainvit), and
name the same examples as long as TFDS prepares them in the same order.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PREFIX = 'vtab/'
SPLITS = ('train', 'train800', 'val200', 'test')


class Task(NamedTuple):
  """A row of the table.

  Attributes:
    builder: name of the data set in TFDS.
    num_classes: number of classes.
    val: TFDS split of the 200 examples for choosing.
    test: TFDS split of the examples for the result.
    label: makes the class index from a parsed example; None: it is `label`.
    reads: the feature that `label` reads.
    flip: whether a mirrored image is of the same class.
  """

  builder: str
  num_classes: int
  val: str
  test: str = 'test'
  label: Callable | None = None
  reads: str | None = None
  flip: bool = True

  def split(self, name):
    """Returns the TFDS split of train800, val200, train or test, or None."""
    return {
      'train800': 'train[:800]',
      'val200': self.val,
      'train': f'train[:800]+{self.val}',
      'test': self.test,
    }.get(name)


def _bin(thresholds):
  """Returns a function that counts the thresholds below a value, less 1."""
  return lambda value: int(np.sum(np.asarray(thresholds) < value)) - 1


_CLEVR_BIN = _bin((0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0))
_KITTI_BIN = _bin((-100.0, 8.0, 20.0, 999.0))
_NO_VEHICLE = 1000.0  # Metres: farther than any.


def clevr_count(example):
  """The number of objects, 3 to 10."""
  return len(example['objects']['pixel_coords']) - 3


def clevr_distance(example):
  """How far the closest object is from the camera, in 6 steps."""
  return _CLEVR_BIN(
    np.min(np.asarray(example['objects']['pixel_coords'])[:, 2])
  )


def kitti_distance(example):
  """How far the closest car, van or truck is, in 4 steps; the last: none."""
  objects = example['objects']
  is_vehicle = np.asarray(objects['type']) < 3
  metres = np.asarray(objects['location']).reshape(-1, 3)[is_vehicle, 2]
  return _KITTI_BIN(min([*metres.tolist(), _NO_VEHICLE]))


def dsprites_location(example):
  """The horizontal position, 32 steps taken two by two."""
  return int(example['label_x_position']) // 2


def dsprites_orientation(example):
  """The orientation, 40 steps on 16."""
  return int(int(example['label_orientation']) / 2.5)


def smallnorb_azimuth(example):
  return int(example['label_azimuth'])


def smallnorb_elevation(example):
  return int(example['label_elevation'])


_VAL = 'validation[:200]'
_CLEVR = ('clevr', 'train[63000:63200]', 'validation')
_DSPRITES = ('dsprites', 'train[589824:590024]', 'train[663552:]')
_NORB = ('smallnorb', 'test[:200]', 'test[50%:]')


def _derived(source, num_classes, label, reads, flip=True):
  builder, val, test = source
  return Task(builder, num_classes, val, test, label, reads, flip)


# In the order of the ViT paper, table 9: natural, specialized, structured.
TASKS = {
  'caltech101': Task('caltech101', 102, 'train[2754:2954]'),
  'cifar100': Task('cifar100', 100, 'train[45000:45200]'),
  'dtd': Task('dtd', 47, _VAL),
  'flowers102': Task('oxford_flowers102', 102, _VAL),
  'pets': Task('oxford_iiit_pet', 37, 'train[2944:3144]'),
  'sun397': Task('sun397/tfds', 397, _VAL),
  'svhn': Task('svhn_cropped', 10, 'train[65931:66131]', flip=False),
  'camelyon': Task('patch_camelyon', 2, _VAL),
  'eurosat': Task(
    'eurosat/rgb', 10, 'train[16200:16400]', test='train[21600:]'
  ),
  'resisc45': Task('resisc45', 45, 'train[18900:19100]', test='train[25200:]'),
  'retinopathy': Task('diabetic_retinopathy_detection/btgraham-300', 5, _VAL),
  'clevr_count': _derived(_CLEVR, 8, clevr_count, 'objects'),
  'clevr_distance': _derived(_CLEVR, 6, clevr_distance, 'objects'),
  'dmlab': Task('dmlab', 6, _VAL),
  'dsprites_location': _derived(
    _DSPRITES, 16, dsprites_location, 'label_x_position', flip=False
  ),
  'dsprites_orientation': _derived(
    _DSPRITES, 16, dsprites_orientation, 'label_orientation', flip=False
  ),
  'kitti': _derived(('kitti', _VAL, 'test'), 4, kitti_distance, 'objects'),
  'smallnorb_azimuth': _derived(
    _NORB, 18, smallnorb_azimuth, 'label_azimuth', flip=False
  ),
  'smallnorb_elevation': _derived(
    _NORB, 9, smallnorb_elevation, 'label_elevation'
  ),
}
GROUPS = {
  'natural': tuple(TASKS)[:7],
  'specialized': tuple(TASKS)[7:11],
  'structured': tuple(TASKS)[11:],
}
