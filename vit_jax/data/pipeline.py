"""Batches of a source: shuffled and repeated to train, padded to evaluate.

What global batch k of a training consists of is a function of the source, the
seed and k: the number of hosts, worker processes or threads and where a run was
resumed make no difference. Grain runs the threads and processes.
"""

import dataclasses
import threading
from typing import Any

import grain
import numpy as np
from absl import flags

from vit_jax import batch, errors, experiment
from vit_jax.data import bad_examples, order, rows, transforms

PIECE = 64  # Rows that a thread makes at a time.
MAX_BATCHES = 2**40  # In a row of training; as good as without end.


def train_batches(
  source,
  data,
  *,
  batch_size,
  seed,
  start=0,
  process_index=0,
  process_count=1,
  bad_path=None,
):
  """Iterates without end over this process's rows of each global batch.

  See `order` for which examples a batch has; each is augmented anew each time.
  One that can't be used (an image that can't be read, a label out of range)
  is replaced by the next in the source that can.

  Args:
    source: see `sources`.
    data: the part `data` of the configuration.
    batch_size: rows of a global batch, over all processes.
    seed: of the order and of the augmentation; at least 0.
    start: index of the first global batch; starting late costs nothing.
    process_index: which rows: process p gets the p-th contiguous share.
    process_count: number of shares; divides `batch_size`.
    bad_path: of the JSONL file that lists bad examples, or None; process p > 0
      writes one of its own, as bad_examples-p.jsonl.

  Returns:
    An iterator, with `close()`, of NumPy batches as `vit_jax.batch` tells.

  Raises:
    UserError: the batch does not divide; while iterating: more than
      `data.max_bad_share` of the source is bad, with the file or record.
  """
  share = _share(batch_size, process_count)
  order_seed, map_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
  made = rows.TrainRows(
    source,
    transforms.for_training(data),
    order.build(source, order_seed, batch_size, data.repeats),
    map_seed,
  )
  first = start * process_count + process_index
  shares = range(first, first + MAX_BATCHES * process_count, process_count)
  bad = _bad_examples(source, data, bad_path, process_index)
  return _iterate(made, share, shares, data, bad)


def eval_batches(
  source,
  data,
  *,
  batch_size,
  process_index=0,
  process_count=1,
  bad_path=None,
):
  """Iterates once over this process's rows of each global batch, in order.

  Over all processes each example comes exactly once; the last batch is filled
  up with `batch.padding`, which also stands for an example that can't be used.
  All processes get the same number of batches.

  Args, Returns, Raises: as `train_batches`.
  """
  share = _share(batch_size, process_count)
  made = rows.EvalRows(
    source, transforms.for_evaluation(data), experiment.image_size(data)
  )
  num_shares = num_eval_batches(len(source), batch_size) * process_count
  shares = range(process_index, num_shares, process_count)
  bad = _bad_examples(source, data, bad_path, process_index)
  return _iterate(made, share, shares, data, bad)


def num_eval_batches(num_examples, batch_size):
  """Returns how many batches hold all examples, the last one padded."""
  return -(-num_examples // batch_size)


def _bad_examples(source, data, path, process_index):
  if path is not None and process_index:
    path = path.with_name(f'{path.stem}-{process_index}{path.suffix}')
  return bad_examples.BadExamples(source, data.max_bad_share, path)


def _share(batch_size, process_count):
  if batch_size % process_count:
    raise errors.UserError(
      f'A batch of {batch_size} does not divide over {process_count} '
      f'processes; the next that does: '
      f'{num_eval_batches(batch_size, process_count) * process_count}.'
    )
  return batch_size // process_count


def _iterate(maker, size, shares, data, bad):
  """Returns the iterator over batches of `size` rows, one per share number."""
  slots = None if data.num_workers else _Slots(size)
  pieces = _Pieces(maker, size, shares, slots)
  # Of each thread one piece in the making and one that waits.
  num_threads = -(-data.num_threads // max(1, data.num_workers))
  options = grain.ReadOptions(
    num_threads=num_threads, prefetch_buffer_size=2 * num_threads
  )
  numbers = grain.MapDataset.range(len(shares) * pieces.per_batch)
  made = numbers.map(pieces).to_iter_dataset(options)
  if data.num_workers:
    if not flags.FLAGS.is_parsed():  # Grain reads flags of its own.
      flags.FLAGS.mark_as_parsed()
    made = made.mp_prefetch(
      grain.MultiprocessingOptions(
        num_workers=data.num_workers, per_worker_buffer_size=2
      )
    )
  return _Batches(iter(made), pieces, bad)


@dataclasses.dataclass(frozen=True)
class _Pieces:
  """Makes piece after piece of the batches; runs in several threads.

  A piece is small, so that all threads soon work on the batch that is needed
  next, and few bytes lie about however large the batches are.
  """

  maker: Any  # Of rows; see `rows`.
  size: int
  shares: range
  slots: Any

  @property
  def per_batch(self):
    return -(-self.size // PIECE)

  def __call__(self, number):
    """Returns the batch's share number, the piece itself and its problems."""
    batch_number, piece = divmod(number, self.per_batch)
    share = self.shares[batch_number]
    begin, end = piece * PIECE, min((piece + 1) * PIECE, self.size)
    made, problems = None, []
    positions = range(share * self.size + begin, share * self.size + end)
    for place, (row, found) in enumerate(self.maker.make(positions)):
      if made is None:
        made = self._space(share, begin, end, row['image'].shape)
      for key, values in made.items():
        values[place] = row[key]
      problems += found
    return share, made, problems

  def _space(self, share, begin, end, image_shape):
    """Returns the arrays that the rows from `begin` to `end` go into."""
    if self.slots is None:
      return _empty(end - begin, image_shape)
    whole = self.slots.get(share, image_shape)
    return {key: values[begin:end] for key, values in whole.items()}


class _Slots:
  """The batches in the making, whose pieces several threads fill in."""

  def __init__(self, size):
    self._size = size
    self._batches = {}
    self._lock = threading.Lock()

  def get(self, share, image_shape):
    with self._lock:
      if share not in self._batches:
        self._batches[share] = _empty(self._size, image_shape)
      return self._batches[share]

  def pop(self, share):
    with self._lock:
      return self._batches.pop(share)


def _empty(size, image_shape):
  """Returns a batch of `size` rows whose values are not set."""
  padding = batch.padding(*image_shape[:2])
  return {
    key: np.empty((size, *np.shape(value)), value.dtype)
    for key, value in padding.items()
  }


class _Batches:
  """Joins pieces to batches, and counts the bad examples."""

  def __init__(self, iterator, pieces, bad):
    self._iterator = iterator
    self._pieces = pieces
    self._bad = bad
    self._is_over = False

  def __iter__(self):
    return self

  def __next__(self):
    if self._is_over:
      raise StopIteration
    try:
      return self._batch()
    except BaseException:
      self.close()  # Its threads would wait until the error is forgotten.
      raise

  def _batch(self):
    parts = []
    for _ in range(self._pieces.per_batch):
      share, part, problems = next(self._iterator)
      parts.append(part)
      for index, problem in problems:
        self._bad.add(index, problem)
    if self._pieces.slots is not None:
      return self._pieces.slots.pop(share)
    return {
      key: np.concatenate([part[key] for part in parts]) for key in parts[0]
    }

  def close(self):
    """Stops the threads and processes; there is no further batch."""
    self._is_over = True
    self._iterator.close()
