"""Examples, read and transformed to rows of batches.

A row is {key: value} for the keys of a batch; it comes with the problems met,
pairs (index of a bad example, what is wrong with it).
"""

import dataclasses
from typing import Any

import numpy as np

from vit_jax import errors
from vit_jax.data import bad_examples, batch, image_files, transforms

MAX_TRIES = 100  # Bad examples in a row; then something else is wrong.


@dataclasses.dataclass(frozen=True)
class TrainExamples:
  """Makes training rows; position p is row p of all batches, concatenated.

  Attributes:
    source: see `sources`.
    chain: transforms.
    order: maps positions to indices.
    seed: of the augmentation.
  """

  source: Any
  chain: tuple
  order: Any
  seed: int

  def make(self, positions):
    """Yields (row, problems) for each position; see `_load`."""
    random = np.random.Philox(key=self.seed)
    rng, state = np.random.Generator(random), random.state
    for position in positions:
      # Each position has its own counter; far cheaper than a new generator.
      state['state']['counter'][:] = 0, 0, position, 0
      yield self._first_good(self.order[position], rng, state)

  def _first_good(self, index, rng, state):
    """Returns the first row from `index` on, and what is wrong before it.

    Its augmentation does not depend on how far the bad ones before it came.
    """
    problems = []
    for tried in range(MAX_TRIES):
      here = (index + tried) % len(self.source)
      rng.bit_generator.state = state
      row, problem = _load(self.source, self.chain, here, rng)
      if problem is None:
        return row, problems
      problems.append((here, problem))
    raise errors.UserError(
      f'{problems[0][1]} The next {MAX_TRIES - 1} examples are bad, too.'
    )


@dataclasses.dataclass(frozen=True)
class EvalExamples:
  """Makes evaluation rows; position p is example p, followed by padding.

  Attributes:
    source: see `sources`.
    chain: transforms.
    image_size: (rows, columns) of the padding.
  """

  source: Any
  chain: tuple
  image_size: tuple

  def make(self, positions):
    for position in positions:
      row, problem = None, None
      if position < len(self.source):
        row, problem = _load(self.source, self.chain, position, None)
      problems = [] if problem is None else [(position, problem)]
      yield row or batch.padding(*self.image_size), problems


def _load(source, chain, index, rng):
  """Returns (row, None) of example `index`, or (None, what is wrong)."""
  try:
    example = source[index]
    image = transforms.apply(chain, example['image'], rng)
  except (bad_examples.BrokenShardError, image_files.StoreError):
    raise
  except (errors.UserError, OSError) as error:
    return None, f'{source.where(index)}: {error}'
  label = example['label']
  if not -1 <= label < source.num_classes:
    return None, (
      f'{source.where(index)}: label {label} does not fit '
      f'{source.num_classes} classes, 0 to {source.num_classes - 1} (-1: none).'
    )
  return {'image': image, 'label': label, 'mask': True, 'index': index}, None
