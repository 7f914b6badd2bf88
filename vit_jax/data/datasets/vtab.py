"""The 19 tasks of VTAB: their data sets, frozen splits and labels.

Zhai et al. (2019). `vtab/TASK` is VTAB-1k: 1,000 training examples, `train800`
while tuning on `val200`, and then both together as `train`. `vtab_full/TASK`
has all examples: `train_part`, `val`, and both as `train`. The result is
measured on `test`, the same in both. VTAB-1k's splits are those of the released
ViT configurations (scenic's plainvit), the full ones those of VTAB's own code
(task_adaptation); they are the same examples as long as TFDS prepares them in
the same order.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vit_jax import errors


class Task(NamedTuple):
  """A row of the table.

  Attributes:
    builder: name of the data set in TFDS.
    num_classes: number of classes.
    val200: TFDS split of the 200 validation examples of VTAB-1k.
    test: TFDS split of the test examples.
    label: maps a parsed example to the class index; None: it is `label`.
    reads: the feature that `label` reads.
    flip: whether mirroring an image preserves its class.
    crop: whether cropping an image preserves its class.
    full: TFDS splits of all examples, for training and validation.
  """

  builder: str
  num_classes: int
  val200: str
  test: str = 'test'
  label: Callable | None = None
  reads: str | None = None
  flip: bool = True
  crop: bool = True
  full: tuple[str, str] = ('train', 'validation')


class Version(NamedTuple):
  """A task with its splits.

  Attributes:
    task: the row of the table.
    splits: {name: TFDS split}; the first two are for tuning: training and
      validation.
  """

  task: Task
  splits: dict

  @property
  def choosing(self):
    """The names of the two splits for tuning: training and validation."""
    learned, held_out, *_ = self.splits
    return learned, held_out

  @property
  def train_crop(self):
    """The `data.train_crop` of the released ViT configurations."""
    return 'resize_and_crop' if self.task.crop else 'stretch'


def find(dataset):
  """Returns the `Version` of this name; None: it is not a task of VTAB.

  Args:
    dataset: name, such as vtab/dtd or vtab_full/dtd.

  Raises:
    UserError: VTAB has no such task; names the nearest.
  """
  suite, slash, name = dataset.partition('/')
  if not slash or suite not in VERSIONS:
    return None
  task = errors.choose(f'{dataset}: the task of VTAB', name, TASKS)
  return Version(task, VERSIONS[suite](task))


def names(suite, tasks=None):
  """Returns the names of data sets, of all tasks of a suite or of some."""
  return tuple(f'{suite}/{task}' for task in (tasks or TASKS))


def _one_thousand(task):
  return {
    'train800': 'train[:800]',
    'val200': task.val200,
    'train': f'train[:800]+{task.val200}',
    'test': task.test,
  }


def _full(task):
  learned, val = task.full
  return {
    'train_part': learned,
    'val': val,
    'train': f'{learned}+{val}',
    'test': task.test,
  }


# Prefix of the name of a task: its splits.
VERSIONS = {'vtab': _one_thousand, 'vtab_full': _full}


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
  """The distance of the closest object from the camera, in 6 bins."""
  return _CLEVR_BIN(
    np.min(np.asarray(example['objects']['pixel_coords'])[:, 2])
  )


def kitti_distance(example):
  """The distance of the closest car, van or truck, in 4 bins; last: none."""
  objects = example['objects']
  is_vehicle = np.asarray(objects['type']) < 3
  metres = np.asarray(objects['location']).reshape(-1, 3)[is_vehicle, 2]
  return _KITTI_BIN(min([*metres.tolist(), _NO_VEHICLE]))


def dsprites_location(example):
  """The horizontal position, 32 steps in 16 bins."""
  return int(example['label_x_position']) // 2


def dsprites_orientation(example):
  """The orientation, 40 steps in 16 bins."""
  return int(int(example['label_orientation']) / 2.5)


def smallnorb_azimuth(example):
  return int(example['label_azimuth'])


def smallnorb_elevation(example):
  return int(example['label_elevation'])


_VAL = 'validation[:200]'


def _parts(first, second=100):
  """Returns the slices of `train` up to `first` per cent and on to `second`."""
  end = '' if second == 100 else f'{second}%'
  return f'train[:{first}%]', f'train[{first}%:{end}]'


_CLEVR = Task(
  'clevr',
  0,
  'train[63000:63200]',
  'validation',
  crop=False,
  full=_parts(90),
)
_DSPRITES = Task(
  'dsprites',
  16,
  'train[589824:590024]',
  'train[663552:]',
  flip=False,
  full=_parts(80, 90),
)
_NORB = Task(
  'smallnorb', 0, 'test[:200]', 'test[50%:]', full=('train', 'test[:50%]')
)

# In the order of the ViT paper, table 9: natural, specialized, structured.
TASKS = {
  'caltech101': Task('caltech101', 102, 'train[2754:2954]', full=_parts(90)),
  'cifar100': Task('cifar100', 100, 'train[45000:45200]', full=_parts(90)),
  'dtd': Task('dtd', 47, _VAL),
  'flowers102': Task('oxford_flowers102', 102, _VAL),
  'pets': Task('oxford_iiit_pet', 37, 'train[2944:3144]', full=_parts(80)),
  'sun397': Task('sun397/tfds', 397, _VAL),
  'svhn': Task(
    'svhn_cropped', 10, 'train[65931:66131]', flip=False, full=_parts(90)
  ),
  'camelyon': Task('patch_camelyon', 2, _VAL),
  'eurosat': Task(
    'eurosat/rgb',
    10,
    'train[16200:16400]',
    'train[21600:]',
    full=_parts(60, 80),
  ),
  'resisc45': Task(
    'resisc45', 45, 'train[18900:19100]', 'train[25200:]', full=_parts(60, 80)
  ),
  'retinopathy': Task('diabetic_retinopathy_detection/btgraham-300', 5, _VAL),
  'clevr_count': _CLEVR._replace(
    num_classes=8, label=clevr_count, reads='objects'
  ),
  'clevr_distance': _CLEVR._replace(
    num_classes=6, label=clevr_distance, reads='objects'
  ),
  'dmlab': Task('dmlab', 6, _VAL, crop=False),
  'dsprites_location': _DSPRITES._replace(
    label=dsprites_location, reads='label_x_position', crop=False
  ),
  'dsprites_orientation': _DSPRITES._replace(
    label=dsprites_orientation, reads='label_orientation'
  ),
  'kitti': Task(
    'kitti', 4, _VAL, 'test', kitti_distance, 'objects', crop=False
  ),
  'smallnorb_azimuth': _NORB._replace(
    num_classes=18,
    label=smallnorb_azimuth,
    reads='label_azimuth',
    flip=False,
  ),
  'smallnorb_elevation': _NORB._replace(
    num_classes=9, label=smallnorb_elevation, reads='label_elevation'
  ),
}
GROUPS = {
  'natural': tuple(TASKS)[:7],
  'specialized': tuple(TASKS)[7:11],
  'structured': tuple(TASKS)[11:],
}
