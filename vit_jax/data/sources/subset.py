"""A subset of a source, and the labels of a whole source."""

import dataclasses
from concurrent import futures
from typing import Any

import numpy as np

_NUM_THREADS = 8  # They wait for the disk most of the time.


@dataclasses.dataclass(eq=False)
class Subset:
  """A source of chosen examples; see `sources` for what a source is.

  Attributes:
    source: the whole source.
    indices: position of each example in it, int [examples].
  """

  source: Any
  indices: np.ndarray

  def __len__(self):
    return len(self.indices)

  def __getitem__(self, index):
    return self.source[int(self.indices[index])]

  def where(self, index):
    return self.source.where(int(self.indices[index]))

  def key(self, index):
    return self.source.key(int(self.indices[index]))

  def facts(self):
    yield from self.source.facts()
    yield ' '.join(map(str, self.indices))

  @property
  def class_names(self):
    return self.source.class_names

  @property
  def num_classes(self):
    return self.source.num_classes


def labels(source):
  """Returns the class index of each example, int64 [examples]; -1: none.

  No image is decoded. Records, which hold image and label, are read whole.
  """
  known = getattr(source, 'labels', None)  # Of files and arrays.
  if known is not None:
    return np.asarray(known, np.int64)
  with futures.ThreadPoolExecutor(_NUM_THREADS) as threads:
    read = threads.map(lambda index: source[index]['label'], range(len(source)))
    return np.fromiter(read, np.int64, len(source))
