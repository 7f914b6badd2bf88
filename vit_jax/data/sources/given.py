"""Data that a program has made in Python, in place of a data set on disk.

config.json can not say what they are: the run has to be given them again to
resume, and their contents are compared.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from vit_jax import errors

NAME = 'python'  # As data.source says it.
_MAX_READ = 256  # Examples that tell a source from another.


@dataclasses.dataclass(eq=False)
class GivenSource:
  """A source; see `sources` for what that is.

  Attributes:
    examples: has a length, and [i] gives {'image': encoded bytes or uint8
      [rows, columns, 3], 'label': int}. `where`, `key`, `facts` are optional.
    num_classes: number of classes.
    class_names: name of each class, or None.
    name: of all of it, in errors.
  """

  examples: Any
  num_classes: int
  class_names: tuple[str, ...] | None = None
  name: str = 'the data'

  def __len__(self):
    return len(self.examples)

  def __getitem__(self, index):
    return self.examples[index]

  def where(self, index):
    named = getattr(self.examples, 'where', None)
    return named(index) if named else f'example {index} of {self.name}'

  def key(self, index):
    named = getattr(self.examples, 'key', None)
    return named(index) if named else f'example {index} of {self.name}'

  def facts(self):
    """Yields what tells it from others: by itself, a sample of its examples."""
    own = getattr(self.examples, 'facts', None)
    if own:
      yield from own()
      return
    count = min(len(self), _MAX_READ)
    for index in np.linspace(0, len(self) - 1, count).astype(int).tolist():
      example = self.examples[index]
      image = example['image']
      digest = hashlib.blake2b(digest_size=8)
      digest.update(np.ascontiguousarray(image) if _is_array(image) else image)
      yield f'{digest.hexdigest()} {int(example["label"])}'


def build(data, split):
  """Raises UserError: nobody but the program that made it has the data."""
  del data
  raise errors.UserError(
    f'The data of this run (split {split!r}) were made in Python, and '
    'config.json can not say which they are. Resume by the same call of '
    'vit_jax.train(config, workdir, data=...); evaluate on a data set by '
    '--checkpoint=RUN --dataset=NAME.'
  )


def _is_array(image):
  return isinstance(image, np.ndarray)
