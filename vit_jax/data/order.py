"""The index sampler: the order of training examples, by seed and position.

Row j of global batch k is position k * batch_size + j. Access is random: there
is no state, and nothing to skip on a resume.
"""

import grain
import numpy as np

from vit_jax import errors
from vit_jax.data.sources import subset

MAX_LENGTH = 2**60  # Of training, in examples; effectively unlimited.
_SHORT = 1000  # Up to here, sorting is faster than `index_shuffle`.


def build(source, seed, batch_size, repeats, balance=False):
  """Returns the order, which maps a position to the index of an example.

  Every epoch is a new permutation of the source. In a mixture (a source with
  `parts` and `weights`) each part has its own epochs, and the parts are
  interleaved so that at any time their proportions are those of the weights.

  If balanced, the classes take turns: of k classes that have examples, each is
  drawn once in positions 0 to k - 1, once in k to 2k - 1 and so on, each time
  in a new permutation; and each class has its own epochs, so that none of its
  examples comes again before all the others have come. Examples without a
  label are never drawn. In a mixture that holds within each part.

  Args:
    source: see `sources`.
    seed: at least 0.
    batch_size: rows of a global batch.
    repeats: number of copies of each example in its batch (repeated
      augmentation: Hoffer et al., 2020), which has as many times fewer distinct
      ones.
    balance: whether each class is drawn equally often.

  Raises:
    UserError: `repeats` does not divide the batch, or the classes of a part
      without labels are to be balanced.
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
    if balance:
      epochs.append(_Balanced(first, part, part_seed))
    else:
      epochs.append(_Epochs(first, len(part), part_seed))
    first += len(part)
  if len(epochs) == 1:
    return _Order(epochs[0], batch_size, repeats)
  mixed = grain.MapDataset.mix(
    [grain.MapDataset.source(each) for each in epochs], weights
  )
  return _Order(mixed, batch_size, repeats)


class _Epochs:
  """The indices of a part, with a new permutation per epoch, as a sequence."""

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


class _ShortEpochs:
  """As `_Epochs`, and faster where the length is a few thousand at most.

  `index_shuffle` takes milliseconds where the length is small.
  """

  def __init__(self, first, length, seed):
    self._first = first
    self._length = length
    self._seed = seed

  def __getitem__(self, position):
    epoch, place = divmod(int(position), self._length)
    keys = np.random.Philox(key=[self._seed, epoch]).random_raw(self._length)
    return self._first + int(np.argsort(keys, kind='stable')[place])


def _epochs(first, length, seed):
  kind = _ShortEpochs if length <= _SHORT else _Epochs
  return kind(first, length, seed)


class _Balanced:
  """The indices of a part, its classes taking turns, as a sequence."""

  def __init__(self, first, part, seed):
    labels = subset.labels(part)
    known = np.flatnonzero((labels >= 0) & (labels < part.num_classes))
    if not known.size:
      raise errors.UserError(
        f'data.balance=true needs labels, and {part.where(0)} is one of '
        f'{len(part):,} training examples that all have none.'
      )
    ranked = known[np.argsort(labels[known], kind='stable')]
    _, starts, counts = np.unique(
      labels[ranked], return_index=True, return_counts=True
    )
    *seeds, turn_seed = (
      np.random.SeedSequence(seed).generate_state(len(counts) + 1).tolist()
    )
    self._indices = first + ranked  # Grouped by class.
    self._classes = [
      _epochs(start, count, class_seed)
      for start, count, class_seed in zip(
        starts.tolist(), counts.tolist(), seeds
      )
    ]
    self._turns = _epochs(0, len(counts), turn_seed)

  def __len__(self):
    return MAX_LENGTH

  def __getitem__(self, position):
    of_class = self._classes[self._turns[position]]
    return int(self._indices[of_class[int(position) // len(self._classes)]])


class _Order:
  """See `build`."""

  def __init__(self, indices, batch_size, repeats):
    self._indices = indices
    self._batch_size = batch_size
    self._num_distinct = batch_size // repeats

  def __getitem__(self, position):
    batch, row = divmod(position, self._batch_size)
    # Copies are far apart, so that mixup combines different images.
    row %= self._num_distinct
    return self._indices[batch * self._num_distinct + row]
