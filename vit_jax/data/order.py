"""Which example is trained on when, as a function of seed and position alone.

Row j of global batch k is position k * batch_size + j. Any position can be
asked for at once: nothing is drawn, remembered or skipped on the way.
"""

import grain
import numpy as np

from vit_jax import errors

MAX_LENGTH = 2**60  # Of a training, in examples; as good as without end.


def build(source, seed, batch_size, repeats):
  """Returns the order, which maps a position to the index of an example.

  Every epoch is a new permutation of the source. Of a mixture (a source with
  `parts` and `weights`) each part has epochs of its own, and the parts take
  turns so that at any time their shares are those of the weights.

  Args:
    source: see `sources`.
    seed: at least 0.
    batch_size: rows of a global batch.
    repeats: number of times that each example comes in its batch (repeated
      augmentation: Hoffer et al., 2020); the batch then holds as many fewer.

  Raises:
    UserError: `repeats` does not divide the batch.
  """
  if batch_size % repeats:
    raise errors.UserError(
      f'data.repeated_augmentation={repeats} does not divide a batch of '
      f'{batch_size}.'
    )
  parts = getattr(source, 'parts', (source,))
  weights = getattr(source, 'weights', (1,))
  seeds = np.random.SeedSequence(seed).generate_state(len(parts)).tolist()
  epochs, first = [], 0
  for part, part_seed in zip(parts, seeds):
    epochs.append(_Epochs(first, len(part), part_seed))
    first += len(part)
  if len(epochs) == 1:
    return _Order(epochs[0], batch_size, repeats)
  mixed = grain.MapDataset.mix(
    [grain.MapDataset.source(each) for each in epochs], weights
  )
  return _Order(mixed, batch_size, repeats)


class _Epochs:
  """The indices of a part, permuted anew in each epoch, as a sequence."""

  def __init__(self, first, length, seed):
    self._first = first
    self._length = length
    self._seed = seed

  def __len__(self):
    return MAX_LENGTH

  def __getitem__(self, position):
    epoch, place = divmod(int(position), self._length)
    return self._first + grain.experimental.index_shuffle(
      place,
      max_index=self._length - 1,
      seed=(self._seed + epoch) % 2**32,
      rounds=4,
    )


class _Order:
  """See `build`."""

  def __init__(self, indices, batch_size, repeats):
    self._indices = indices
    self._batch_size = batch_size
    self._num_distinct = batch_size // repeats

  def __getitem__(self, position):
    batch, row = divmod(position, self._batch_size)
    # Repeats stand far apart, so that mixup meets other images.
    row %= self._num_distinct
    return self._indices[batch * self._num_distinct + row]
