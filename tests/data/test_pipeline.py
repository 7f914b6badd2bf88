import gc
import itertools
import threading
import time

import numpy as np
import pytest

from vit_jax import batch, errors, experiment
from vit_jax.data import arrays, pipeline, synthetic


@pytest.fixture
def data():
  data = experiment.default().data
  data.resolution = (6, 8)
  return data


@pytest.fixture
def source():
  return synthetic.SyntheticSource(26, 5, 12, 10, 'train')


def take(batches, count):
  taken = list(itertools.islice(batches, count))
  batches.close()
  return taken


def join(parts):
  """Returns the rows of several batches as one batch."""
  return {
    key: np.concatenate([part[key] for part in parts]) for key in parts[0]
  }


def assert_equal(left, right):
  assert left.keys() == right.keys()
  for key in left:
    np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def test_batches_are_what_the_page_says_they_are(source, data):
  train = next(pipeline.train_batches(source, data, batch_size=4, seed=0))
  *_, last = pipeline.eval_batches(source, data, batch_size=4)
  fill = batch.padding(6, 8)
  for drawn in train, last:
    assert set(drawn) == set(batch.KEYS)
    for key, value in fill.items():
      assert drawn[key].shape == (4, *value.shape), key
      assert drawn[key].dtype == value.dtype, key


def test_labels_and_indices_belong_to_the_images(source, data):
  data.eval_crop = 'squash'
  data.resolution = (12, 10)  # The size of the source: nothing is resized.
  for drawn in pipeline.eval_batches(source, data, batch_size=13):
    for image, label, index in zip(
      drawn['image'], drawn['label'], drawn['index']
    ):
      np.testing.assert_array_equal(image, source[index]['image'])
      assert label == source[index]['label']


@pytest.mark.parametrize('batch_size', [13, 8])
def test_each_epoch_is_a_new_permutation(source, data, batch_size):
  batches = pipeline.train_batches(source, data, batch_size=batch_size, seed=0)
  indices = join(take(batches, 26 * 4 // batch_size))['index']
  epochs = indices.reshape(4, 26)
  np.testing.assert_array_equal(np.sort(epochs), [np.arange(26)] * 4)
  assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_batch_may_be_larger_than_the_data_set(data):
  one = synthetic.SyntheticSource(1, 5, 12, 10, 'train')
  drawn = take(pipeline.train_batches(one, data, batch_size=4, seed=0), 2)
  np.testing.assert_array_equal(join(drawn)['index'], [0] * 8)


def test_each_seed_is_its_own_order_in_every_epoch(source, data):
  def epochs(seed):
    batches = pipeline.train_batches(source, data, batch_size=26, seed=seed)
    return {tuple(drawn['index']) for drawn in take(batches, 3)}

  assert not epochs(0) & epochs(1)
  assert epochs(2**40) == epochs(2**40)


def test_an_example_is_augmented_anew_in_each_epoch(source, data):
  batches = pipeline.train_batches(source, data, batch_size=26, seed=0)
  one, two = take(batches, 2)
  one, two = (
    drawn['image'][np.argsort(drawn['index'])] for drawn in (one, two)
  )
  assert np.all(np.any(one != two, axis=(1, 2, 3)))


@pytest.mark.parametrize('process_count', [1, 2, 4])
@pytest.mark.parametrize('num_threads', [1, 4])
def test_a_batch_depends_on_seed_and_position_alone(
  source, data, process_count, num_threads
):
  wanted = take(pipeline.train_batches(source, data, batch_size=8, seed=7), 6)
  data.num_threads = num_threads
  for start in 0, 4:
    parts = [
      take(
        pipeline.train_batches(
          source,
          data,
          batch_size=8,
          seed=7,
          start=start,
          process_index=process,
          process_count=process_count,
        ),
        6 - start,
      )
      for process in range(process_count)
    ]
    for position in range(start, 6):
      rows = join([part[position - start] for part in parts])
      assert_equal(rows, wanted[position])


def test_starting_late_costs_nothing(source, data):
  reads = []

  class Counting(synthetic.SyntheticSource):
    def __getitem__(self, index):
      reads.append(index)
      return super().__getitem__(index)

  counting = Counting(26, 5, 12, 10, 'train')
  take(
    pipeline.train_batches(counting, data, batch_size=2, seed=0, start=10**12),
    1,
  )
  assert len(reads) <= 2 * (1 + 2 * data.num_threads)


@pytest.mark.parametrize('process_count', [1, 2, 4])
@pytest.mark.parametrize('batch_size', [4, 8, 52])
def test_evaluation_sees_each_example_once(
  source, data, process_count, batch_size
):
  parts = [
    list(
      pipeline.eval_batches(
        source,
        data,
        batch_size=batch_size,
        process_index=process,
        process_count=process_count,
      )
    )
    for process in range(process_count)
  ]
  count = pipeline.num_eval_batches(26, batch_size)
  assert [len(part) for part in parts] == [count] * process_count
  rows = join([join(rows) for rows in zip(*parts, strict=True)])
  np.testing.assert_array_equal(rows['index'][:26], np.arange(26))
  np.testing.assert_array_equal(rows['mask'], rows['index'] >= 0)
  assert rows['mask'].sum() == 26 and rows['mask'][:26].all()
  assert np.all(rows['label'][26:] == -1) and not rows['image'][26:].any()


def test_number_of_batches_counts_the_last_one():
  counts = [pipeline.num_eval_batches(n, 4) for n in (1, 4, 5, 8)]
  assert counts == [1, 1, 2, 2]


def test_a_batch_must_divide_over_the_processes(source, data):
  with pytest.raises(errors.UserError, match=r'10 does not .*next .*: 12'):
    pipeline.train_batches(source, data, batch_size=10, seed=0, process_count=4)
  with pytest.raises(errors.UserError, match=r'does not divide'):
    pipeline.eval_batches(source, data, batch_size=10, process_count=4)


def test_a_label_out_of_range_is_named_with_its_place(data):
  odd = arrays.ArraySource(
    np.zeros((3, 4, 4), np.uint8), np.array([0, 1, -1]), name='odd'
  )
  assert odd[2]['label'] == -1
  list(pipeline.eval_batches(odd, data, batch_size=3))
  odd.labels[1] = 2
  with pytest.raises(
    errors.UserError, match=r'row 1 of odd: label 2 .* 0 to 1'
  ):
    list(pipeline.eval_batches(odd, data, batch_size=3))


def test_an_unreadable_image_is_named_while_training(data):
  class Broken(synthetic.SyntheticSource):
    def __getitem__(self, index):
      return {'image': b'broken', 'label': 0}

  with pytest.raises(
    errors.UserError, match=r'synthetic example \d+ of x: Not'
  ):
    next(
      pipeline.train_batches(
        Broken(9, 2, 4, 4, 'x'), data, batch_size=3, seed=0
      )
    )


def threads():
  return {thread for thread in threading.enumerate() if thread.daemon}


def test_prefetching_changes_nothing_in_the_sequence():
  assert list(pipeline.prefetch(iter(range(50)), 3)) == list(range(50))
  assert list(pipeline.prefetch(iter(()), 1)) == []


def test_prefetching_runs_ahead_as_far_as_it_may():
  made = []
  items = pipeline.prefetch((made.append(i) or i for i in range(99)), 3)
  deadline = time.monotonic() + 10
  while len(made) < 4 and time.monotonic() < deadline:
    time.sleep(0.01)
  time.sleep(0.05)
  assert made == [0, 1, 2, 3]  # Three are ready and one waits for its place.
  assert next(items) == 0
  items.close()


def test_an_error_comes_after_the_items_before_it():
  def items():
    yield 1
    yield 2
    raise KeyError('third')

  prefetched = pipeline.prefetch(items(), 4)
  assert [next(prefetched), next(prefetched)] == [1, 2]
  with pytest.raises(KeyError, match=r'third'):
    next(prefetched)
  with pytest.raises(StopIteration):
    next(prefetched)


@pytest.mark.parametrize('num_taken', [0, 1, 7])
def test_closing_stops_the_thread(num_taken):
  before = threads()
  items = pipeline.prefetch(itertools.count(), 2)
  take(items, num_taken)
  items.close()
  assert threads() <= before
  with pytest.raises(StopIteration):
    next(items)


def test_dropping_the_iterator_stops_the_thread():
  before = threads()
  items = pipeline.prefetch(itertools.count(), 2)
  next(items)
  del items
  gc.collect()
  assert threads() <= before


def test_the_pipeline_stops_its_threads_when_closed(source, data):
  def loaders():
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith('grain')]

  gc.collect()
  before = len(loaders())
  batches = pipeline.train_batches(source, data, batch_size=4, seed=0)
  next(batches)
  assert len(loaders()) > before
  batches.close()
  deadline = time.monotonic() + 10
  while len(loaders()) > before and time.monotonic() < deadline:
    time.sleep(0.01)
  assert len(loaders()) <= before
