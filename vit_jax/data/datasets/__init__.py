"""A table of the data sets that the papers use.

Names, sizes and how to get them; the tasks of VTAB have their own table,
`vtab.TASKS`.
"""

from typing import NamedTuple

from vit_jax import errors
from vit_jax.data.datasets import vtab


class Dataset(NamedTuple):
  """A row of the table.

  Attributes:
    source: value of data.source.
    dataset: value of data.dataset; the name in TFDS, ':' and its version.
    num_classes: number of classes.
    train: the split to train on, and its number of examples; None: for testing
      only.
    test: the split to report on, and its number of examples.
    held_out: last per cent of `train` on which the ViT paper chose learning
      rates (section B.1.1); 0: none.
    manual: what to download by hand and where to put it; '': nothing.
  """

  source: str
  dataset: str
  num_classes: int
  train: tuple[str, int] | None
  test: tuple[str, int]
  held_out: int = 0
  manual: str = ''

  def choosing(self):
    """Returns the splits (train, held-out) for choosing hyperparameters."""
    if self.train is None or not self.held_out:
      raise errors.UserError(f'{self.dataset} has no split for choosing.')
    return hold_out(self.train[0], self.held_out)


def hold_out(split, percent):
  """Divides a split into (train, held-out).

  Args:
    split: whole splits, joined by '+'; the last part of each is held out.
    percent: how much of each, 1 to 99.

  Raises:
    UserError: the split is a slice, which can't be sliced again.
  """
  if '[' in split:
    raise errors.UserError(
      f'data.train_split={split} is a slice already, which cannot be divided '
      'further. Give whole splits, as --config.data.train_split='
      f'{split.partition("[")[0]}.'
    )
  names, kept = split.split('+'), 100 - percent
  return tuple(
    '+'.join(f'{name}[{bounds}]' for name in names)
    for bounds in (f':{kept}%', f'{kept}%:')
  )


def choosing(data, percent=None):
  """Returns the splits (train, held-out) for choosing hyperparameters.

  Args:
    data: the part `data` of the configuration.
    percent: of the training split to hold out; None: as in the ViT paper, or 10
      where it does not say. A task of VTAB has its own split for it.

  Raises:
    UserError: data.train_split is a slice already.
  """
  of_vtab = vtab.find(data.dataset)
  if of_vtab and data.train_split == 'train':
    return of_vtab.choosing
  usual = {row.dataset: row.held_out for row in DATASETS.values()}
  held_out = percent or usual.get(data.dataset) or _HELD_OUT
  return hold_out(data.train_split, held_out)


_HELD_OUT = 10  # Per cent.

_IMAGENET = """\
ImageNet (ILSVRC 2012) may be downloaded after a registration at
https://image-net.org/download-images. Put, as they are, into {manual_dir}
  ILSVRC2012_img_train.tar   (147,897,477,120 bytes)
  ILSVRC2012_img_val.tar     (6,744,924,160 bytes)
and run this command again; preparing takes about twice that space."""

_REAL = """\
The images are those of ImageNet's validation set. Put, as it is, into
{manual_dir} ILSVRC2012_img_val.tar (6,744,924,160 bytes) from
https://image-net.org/download-images and run this command again; the labels
are downloaded."""

_IMAGENET21K = """\
TFDS has no ImageNet-21k. After a registration, download
winter21_whole.tar.gz from https://image-net.org/download-images, or the fall
2011 release that the ViT paper used (14,197,122 images of 21,841 classes), and
unpack it so that each image is at {data_dir}/train/<class>/<image>.JPEG; then
train with
  --config.data.source=folder --config.data.dataset={data_dir}
  --config.data.num_classes=21843
Of it, train[:51200] is to validate on, and train[51200:] to train on."""

DATASETS = {
  'cifar10': Dataset(
    'tfds', 'cifar10', 10, ('train', 50_000), ('test', 10_000), held_out=2
  ),
  'cifar100': Dataset(
    'tfds', 'cifar100', 100, ('train', 50_000), ('test', 10_000), held_out=2
  ),
  'imagenet2012': Dataset(
    'tfds',
    'imagenet2012',
    1000,
    ('train', 1_281_167),
    ('validation', 50_000),
    held_out=1,
    manual=_IMAGENET,
  ),
  # Beyer et al. (2020): several labels for an image, or none.
  'imagenet2012_real': Dataset(
    'tfds',
    'imagenet2012_real',
    1000,
    None,
    ('validation', 50_000),
    manual=_REAL,
  ),
  'imagenet_v2': Dataset(
    'tfds', 'imagenet_v2/matched-frequency', 1000, None, ('test', 10_000)
  ),
  # Google's heads have two more classes than there are.
  'imagenet21k': Dataset(
    'folder',
    'imagenet21k',
    21_843,
    ('train[51200:]', 14_145_922),
    ('train[:51200]', 51_200),
    manual=_IMAGENET21K,
  ),
  'oxford_iiit_pet': Dataset(
    'tfds',
    'oxford_iiit_pet',
    37,
    ('train', 3_680),
    ('test', 3_669),
    held_out=10,
  ),
  'oxford_flowers102': Dataset(
    'tfds',
    'oxford_flowers102',
    102,
    ('train+validation', 2_040),
    ('test', 6_149),
    held_out=10,
  ),
}


def get(name):
  """Returns the `Dataset` called so.

  Raises:
    UserError: it is not in the table; names the nearest.
  """
  return errors.choose('dataset', name, DATASETS)
