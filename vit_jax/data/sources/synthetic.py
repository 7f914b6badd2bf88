"""Images generated on the fly, to try a run without a data set.

Each class is a coarse pattern of colours, and each image is the pattern of its
class plus noise: easy to learn, and never read from disk.
"""

import dataclasses
import zlib

import numpy as np

from vit_jax import errors
from vit_jax.config import schema

_CELLS = 4  # Rows and columns of a pattern.


@dataclasses.dataclass(eq=False)
class SyntheticSource:
  """A source of patterns; see `sources` for what a source is.

  Attributes:
    num_examples: length of the split.
    num_classes: number of classes; example i is of class i % num_classes.
    rows, columns: size of the images in pixels.
    split: its noise differs from that of other splits, its patterns do not.
  """

  num_examples: int
  num_classes: int
  rows: int
  columns: int
  split: str
  class_names: None = None

  def __len__(self):
    return self.num_examples

  def __getitem__(self, index):
    label = index % self.num_classes
    pattern = np.random.default_rng(label).integers(
      64, 192, (_CELLS, _CELLS, 3), np.uint8
    )
    row = np.arange(self.rows) * _CELLS // self.rows
    column = np.arange(self.columns) * _CELLS // self.columns
    rng = np.random.default_rng((zlib.crc32(self.split.encode()), index))
    noise = rng.integers(-64, 64, (self.rows, self.columns, 3), np.int8)
    # 64..191 plus -64..63 stays within 0..254: nothing is clipped.
    image = pattern[row[:, None], column] + noise.view(np.uint8)
    return {'image': image, 'label': label}

  def where(self, index):
    return f'synthetic example {index} of {self.split}'

  def key(self, index):
    return self.where(index)

  def facts(self):
    yield f'{self.split} {self.num_examples} {self.num_classes}'
    yield f'{self.rows} {self.columns}'


def build(data, split):
  """Returns the source of one split, `data.num_examples` long.

  Raises:
    UserError: data.num_classes is not set.
  """
  if data.num_classes is None:
    raise errors.UserError(
      'data.source=synthetic needs data.num_classes, e.g. 10.'
    )
  rows, columns = schema.image_size(data)
  return SyntheticSource(
    data.num_examples, data.num_classes, rows, columns, split
  )
