"""Batches of a source: shuffled and repeated to train, padded to evaluate.

Global batch k of a training run is a function of the source, the seed and k
alone, whatever the number of hosts, worker processes or threads and wherever
the run was resumed. Grain runs the threads and processes.
"""

import dataclasses
import threading
from typing import Any

import grain
import numpy as np
from absl import flags

from vit_jax.config import schema
from vit_jax.data import bad_examples, batch, order, threads, transforms
from vit_jax.data import examples as example_makers

PIECE = 64  # Rows that a thread makes at a time.
MAX_BATCHES = 2**40  # Effectively unlimited.


def train_batches(
  source,
  data,
  *,
  batch_size,
  seed,
  start=0,
  rows=None,
  bad_path=None,
):
  """Iterates endlessly over this process's rows of each global batch.

  See `order` for which examples a batch has; each is augmented anew each time.
  One that can't be used (an image that can't be read, a label out of range)
  is replaced by the next in the source that can.

  Args:
    source: see `sources`.
    data: the part `data` of the configuration.
    batch_size: rows of a global batch, over all processes.
    seed: of the order and of the augmentation; at least 0.
    start: index of the first global batch; skipping batches costs nothing.
    rows: numbers of the rows that this process makes, an int array (see
      `placement.local_rows`); None: all.
    bad_path: of the JSONL file that lists bad examples, one for each process,
      or None.

  Returns:
    An iterator, with `close()`, of NumPy batches; see `vit_jax.data.batch`.

  Raises:
    UserError: while iterating: more than `data.max_bad_fraction` of the source
      is bad, with the file or record.
  """
  order_seed, map_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
  maker = example_makers.TrainExamples(
    source,
    transforms.for_training(data),
    order.build(
      source,
      order_seed,
      batch_size,
      data.repeated_augmentation,
      data.balance,
    ),
    map_seed,
  )
  batches = range(start, start + MAX_BATCHES)
  wanted = _Wanted(batches, batch_size, _rows(rows, batch_size))
  bad = bad_examples.BadExamples(source, data.max_bad_fraction, bad_path)
  return _iterate(maker, wanted, data, bad)


def eval_batches(
  source,
  data,
  *,
  batch_size,
  rows=None,
  bad_path=None,
  chain=None,
):
  """Iterates once over this process's rows of each global batch, in order.

  Over all processes each example occurs exactly once; the last batch is padded
  with `batch.padding`, which also replaces examples that can't be used. All
  processes get the same number of batches.

  Args, Returns, Raises: see `train_batches`; and
    chain: transforms in place of those that `data` describes, or None.
  """
  if chain is None:
    chain = transforms.for_evaluation(data)
  maker = example_makers.EvalExamples(source, chain, schema.image_size(data))
  batches = range(num_eval_batches(len(source), batch_size))
  wanted = _Wanted(batches, batch_size, _rows(rows, batch_size))
  bad = bad_examples.BadExamples(source, data.max_bad_fraction, bad_path)
  return _iterate(maker, wanted, data, bad)


def num_eval_batches(num_examples, batch_size):
  """Returns how many batches hold all examples, the last one padded."""
  return -(-num_examples // batch_size)


def _rows(rows, batch_size):
  return np.arange(batch_size) if rows is None else np.asarray(rows)


def _iterate(maker, wanted, data, bad):
  """Returns the iterator over this process's rows of the wanted batches."""
  slots = None if data.num_workers else _Slots(len(wanted.rows))
  pieces = _Pieces(maker, wanted, slots)
  # For each thread one piece being made and one ready.
  num_threads = -(-threads.count(data) // max(1, data.num_workers))
  options = grain.ReadOptions(
    num_threads=num_threads, prefetch_buffer_size=2 * num_threads
  )
  numbers = grain.MapDataset.range(len(wanted.batches) * wanted.num_pieces)
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
class _Wanted:
  """The rows of global batches that this process makes.

  Attributes:
    batches: numbers of the global batches, a range.
    batch_size: rows of each of them, over all processes.
    rows: numbers of those that are made here, ints [rows].
  """

  batches: range
  batch_size: int
  rows: np.ndarray

  @property
  def num_pieces(self):
    """Number of pieces that the rows of one batch are made in."""
    return -(-len(self.rows) // PIECE)

  def positions(self, batch_number, begin, end):
    """Returns the positions of the rows from `begin` to `end` among all."""
    first = batch_number * self.batch_size
    return [first + row for row in self.rows[begin:end].tolist()]


@dataclasses.dataclass(frozen=True)
class _Pieces:
  """Makes the batches piece by piece; runs in several threads.

  A piece is small, so that all threads work on the batch that is needed next,
  and little memory is used however large the batches are.
  """

  maker: Any  # Of rows; see `examples`.
  wanted: _Wanted
  slots: Any

  def __call__(self, number):
    """Returns the number of the batch, the piece itself and its problems."""
    index, piece = divmod(number, self.wanted.num_pieces)
    batch_number = self.wanted.batches[index]
    begin = piece * PIECE
    end = min(begin + PIECE, len(self.wanted.rows))
    made, problems = None, []
    positions = self.wanted.positions(batch_number, begin, end)
    for place, (row, found) in enumerate(self.maker.make(positions)):
      if made is None:
        made = self._space(batch_number, begin, end, row['image'].shape)
      for key, values in made.items():
        values[place] = row[key]
      problems += found
    return batch_number, made, problems

  def _space(self, batch_number, begin, end, image_shape):
    """Returns the arrays to write the rows from `begin` to `end` to."""
    if self.slots is None:
      return _empty(end - begin, image_shape)
    whole = self.slots.get(batch_number, image_shape)
    return {key: values[begin:end] for key, values in whole.items()}


class _Slots:
  """The batches being made, whose pieces several threads fill in."""

  def __init__(self, size):
    self._size = size
    self._batches = {}
    self._lock = threading.Lock()

  def get(self, batch_number, image_shape):
    with self._lock:
      if batch_number not in self._batches:
        self._batches[batch_number] = _empty(self._size, image_shape)
      return self._batches[batch_number]

  def pop(self, batch_number):
    with self._lock:
      return self._batches.pop(batch_number)


def _empty(size, image_shape):
  """Returns a batch of `size` rows with uninitialized values."""
  padding = batch.padding(*image_shape[:2])
  return {
    key: np.empty((size, *np.shape(value)), value.dtype)
    for key, value in padding.items()
  }


class _Batches:
  """Joins pieces into batches, and counts the bad examples."""

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
      self.close()  # Else its threads would wait as long as the error lives.
      raise

  def _batch(self):
    parts = []
    for _ in range(self._pieces.wanted.num_pieces):
      batch_number, part, problems = next(self._iterator)
      parts.append(part)
      for index, problem in problems:
        self._bad.add(index, problem)
    if self._pieces.slots is not None:
      return self._pieces.slots.pop(batch_number)
    return {
      key: np.concatenate([part[key] for part in parts]) for key in parts[0]
    }

  def close(self):
    """Stops the threads and processes; there is no further batch."""
    self._is_over = True
    self._iterator.close()
