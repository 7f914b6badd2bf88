"""Batches of a source: shuffled and repeated to train, padded to evaluate.

What global batch k of a training consists of is a function of the source, the
seed and k: the number of processes or threads and where a run was resumed make
no difference. Grain runs the threads; each of them builds a whole batch.
"""

import queue
import threading
import weakref

import grain
import numpy as np

from vit_jax import batch, errors, experiment
from vit_jax.data import transforms


def train_batches(
  source, data, *, batch_size, seed, start=0, process_index=0, process_count=1
):
  """Iterates without end over this process's rows of each global batch.

  Each epoch is a new permutation of the source; a batch may span two epochs.
  Examples are augmented anew each time.

  Args:
    source: see `sources`.
    data: the part `data` of the configuration.
    batch_size: rows of a global batch, over all processes.
    seed: of the order and of the augmentation; at least 0.
    start: index of the first global batch; starting late costs nothing.
    process_index: which rows: process p gets the p-th contiguous share.
    process_count: number of shares; divides `batch_size`.

  Returns:
    An iterator, with `close()`, of NumPy batches as `vit_jax.batch` tells.

  Raises:
    UserError: the batch does not divide; while iterating: an image can't be
      read or a label doesn't fit, with the file or record it comes from.
  """
  share = _share(batch_size, process_count)
  chain = transforms.for_training(data)
  order_seed, map_seed = np.random.SeedSequence(seed).generate_state(2).tolist()

  def load(index, rng):
    return _load(source, chain, index, rng)

  shares = (
    grain.MapDataset.range(len(source))
    .shuffle(order_seed)
    .repeat()
    .random_map(load, seed=map_seed)
    .batch(share)
  )
  first = start * process_count + process_index
  return _iterate(shares[first::process_count], data)


def eval_batches(source, data, *, batch_size, process_index=0, process_count=1):
  """Iterates once over this process's rows of each global batch, in order.

  Over all processes each example comes exactly once; the last batch is filled
  up with `batch.padding`. All processes get the same number of batches.

  Args, Returns, Raises: as `train_batches`.
  """
  share = _share(batch_size, process_count)
  chain = transforms.for_evaluation(data)
  rows, columns = experiment.image_size(data)

  def load(index):
    if index >= len(source):
      return batch.padding(rows, columns)
    return _load(source, chain, index, None)

  num_rows = num_eval_batches(len(source), batch_size) * batch_size
  shares = grain.MapDataset.range(num_rows).map(load).batch(share)
  return _iterate(shares[process_index::process_count], data)


def num_eval_batches(num_examples, batch_size):
  """Returns how many batches hold all examples, the last one padded."""
  return -(-num_examples // batch_size)


def prefetch(iterator, size):
  """Returns an iterator over the same items; a thread keeps some ready.

  Args:
    iterator: read by the thread alone from now on.
    size: number of items kept ready, at least 1; one more is in the making.

  Returns:
    An iterator with `close()`, which stops the thread and waits for it. An
    error in `iterator` is raised where its item would have come.
  """
  return _Prefetch(iterator, size)


def _share(batch_size, process_count):
  if batch_size % process_count:
    raise errors.UserError(
      f'A batch of {batch_size} does not divide over {process_count} '
      f'processes; the next that does: '
      f'{num_eval_batches(batch_size, process_count) * process_count}.'
    )
  return batch_size // process_count


def _load(source, chain, index, rng):
  """Returns example `index`, transformed, as a row of a batch."""
  try:
    example = source[index]
    image = transforms.apply(chain, example['image'], rng)
  except (errors.UserError, OSError) as error:
    raise errors.UserError(f'{source.where(index)}: {error}') from error
  label = example['label']
  if not -1 <= label < source.num_classes:
    raise errors.UserError(
      f'{source.where(index)}: label {label} does not fit '
      f'{source.num_classes} classes, 0 to {source.num_classes - 1} (-1: none).'
    )
  return {
    'image': image,
    'label': np.int32(label),
    'mask': np.bool_(True),
    'index': np.int64(index),
  }


def _iterate(dataset, data):
  # As many batches at once as there are threads: fewer would leave some idle.
  size = max(data.num_threads, data.prefetch_batches)
  options = grain.ReadOptions(
    num_threads=data.num_threads, prefetch_buffer_size=size
  )
  return iter(dataset.to_iter_dataset(options))


class _Prefetch:
  """See `prefetch`."""

  def __init__(self, iterator, size):
    self._items = queue.Queue(size)
    stopped = threading.Event()
    thread = threading.Thread(
      target=_run_ahead, args=(iterator, self._items, stopped), daemon=True
    )
    # Runs once: on close(), when nobody holds the iterator, or at exit.
    self._stop = weakref.finalize(self, _stop, thread, self._items, stopped)
    thread.start()

  def __iter__(self):
    return self

  def __next__(self):
    if not self._stop.alive:
      raise StopIteration
    item, error = self._items.get()
    if error is not None:
      self.close()
      raise error
    return item

  def close(self):
    self._stop()


def _run_ahead(iterator, items, stopped):
  try:
    for item in iterator:
      items.put((item, None))
      if stopped.is_set():
        return
    items.put((None, StopIteration()))
  except BaseException as error:  # Whoever waits must learn of any.
    items.put((None, error))


def _stop(thread, items, stopped):
  stopped.set()
  # The thread may wait for room: one place lets it see that it's to stop.
  while not items.empty():
    items.get_nowait()
  if thread is not threading.current_thread():
    thread.join()
