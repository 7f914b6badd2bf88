"""A weighted mixture of data sets: imagenet@3+places@1.

Where all have the same class names, an index means the same class in each.
Otherwise the classes of each data set follow those of the previous one.
"""

import bisect
import collections
import dataclasses
import itertools
import os
import re

from vit_jax import errors, files

_PART = re.compile(r'(.+)@(\d+(?:\.\d+)?)')


@dataclasses.dataclass(eq=False)
class Mixture:
  """A source of all examples of its parts, one after the other.

  Attributes:
    parts: sources.
    weights: of each in training; see `order`. Evaluation uses all examples.
    class_names: name of each class, or None.
    num_classes: number of classes.
    first_labels: index of the first class of each part.
  """

  parts: tuple
  weights: tuple[float, ...]
  class_names: tuple[str, ...] | None
  num_classes: int
  first_labels: tuple[int, ...]

  def __post_init__(self):
    self._ends = list(itertools.accumulate(map(len, self.parts)))

  def __len__(self):
    return self._ends[-1]

  def __getitem__(self, index):
    part, index = self._place(index)
    example = self.parts[part][index]
    if example['label'] < 0:
      return example
    return {**example, 'label': example['label'] + self.first_labels[part]}

  def where(self, index):
    part, index = self._place(index)
    return self.parts[part].where(index)

  def key(self, index):
    part, index = self._place(index)
    return f'{part} {self.parts[part].key(index)}'

  def facts(self):
    for part, weight in zip(self.parts, self.weights):
      yield str(weight)
      yield from part.facts()

  @property
  def excused(self):
    """Indices of the examples that are `excused` in their parts."""
    firsts = (end - len(part) for end, part in zip(self._ends, self.parts))
    return frozenset(
      first + index
      for first, part in zip(firsts, self.parts)
      for index in getattr(part, 'excused', ())
    )

  def _place(self, index):
    part = bisect.bisect_right(self._ends, index)
    return part, index - (self._ends[part] - len(self.parts[part]))

  @property
  def left_out(self):
    left_out = collections.Counter()
    for part in self.parts:
      left_out |= getattr(part, 'left_out', {})
    return left_out

  @property
  def notes(self):
    return tuple(
      note for part in self.parts for note in getattr(part, 'notes', ())
    )


def parse(dataset):
  """Returns [(name, weight)] of a mixture; None: it is a single data set.

  A file or folder that is called like a mixture is none.

  Raises:
    UserError: a weight is zero.
  """
  matches = [_PART.fullmatch(part) for part in _parts(dataset)]
  if not all(matches) or _exists(dataset):
    return None
  parts = [(match[1], float(match[2])) for match in matches]
  for name, weight in parts:
    if not weight:
      raise errors.UserError(
        f'data.dataset={dataset!r}: the weight of {name} is 0; leave it out.'
      )
  return parts


def _parts(dataset):
  """Returns the parts between the +, which the name of a folder may have."""
  parts = []
  for text in dataset.split('+'):
    joined = _PART.fullmatch(f'{parts[-1]}+{text}'.strip()) if parts else None
    if joined and _exists(joined[1]):
      parts[-1] = joined[0]
    else:
      parts.append(text.strip())
  return parts


def _exists(dataset):
  if dataset.count('://') > 1:  # Of several data sets, in stores.
    return False
  return files.exists(os.path.expanduser(dataset))


def join(parts, weights):
  """Returns the `Mixture` of sources with their weights."""
  names = [part.class_names for part in parts]
  if names[0] is not None and all(each == names[0] for each in names):
    num_classes = max(part.num_classes for part in parts)
    first_labels = (0,) * len(parts)
    class_names = names[0]
  else:
    *first_labels, num_classes = itertools.accumulate(
      (part.num_classes for part in parts), initial=0
    )
    class_names = _joined(parts)
  return Mixture(
    tuple(parts), tuple(weights), class_names, num_classes, tuple(first_labels)
  )


def _joined(parts):
  if any(part.class_names is None for part in parts):
    return None
  return tuple(
    name
    for part in parts
    for name in part.class_names
    + tuple(map(str, range(len(part.class_names), part.num_classes)))
  )
