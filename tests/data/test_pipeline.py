import gc
import threading

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.data import batch, pipeline
from vit_jax.data.sources import arrays, synthetic


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
  data.eval_crop = 'stretch'
  data.resolution = (12, 10)  # The size of the source: nothing is resized.
  for drawn in pipeline.eval_batches(source, data, batch_size=13):
    for image, label, index in zip(
      drawn['image'], drawn['label'], drawn['index']
    ):
      np.testing.assert_array_equal(image, source[index]['image'])
      assert label == source[index]['label']


@pytest.mark.parametrize('batch_size', [13, 8])
def test_each_epoch_is_a_new_permutation(source, draw, batch_size):
  drawn = draw(source, 26 * 4 // batch_size, batch_size=batch_size, seed=0)
  epochs = np.concatenate([batch['index'] for batch in drawn]).reshape(4, 26)
  np.testing.assert_array_equal(np.sort(epochs), [np.arange(26)] * 4)
  assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_batch_may_be_larger_than_the_data_set(draw):
  one = synthetic.SyntheticSource(1, 5, 12, 10, 'train')
  for drawn in draw(one, 2, batch_size=4, seed=0):
    np.testing.assert_array_equal(drawn['index'], [0] * 4)


def test_each_seed_is_its_own_order_in_every_epoch(source, draw):
  def epochs(seed):
    batches = draw(source, 3, batch_size=26, seed=seed)
    return {tuple(drawn['index']) for drawn in batches}

  assert not epochs(0) & epochs(1)
  assert epochs(2**40) == epochs(2**40)


def test_an_example_is_augmented_anew_in_each_epoch(source, draw):
  one, two = (
    drawn['image'][np.argsort(drawn['index'])]
    for drawn in draw(source, 2, batch_size=26, seed=0)
  )
  assert np.all(np.any(one != two, axis=(1, 2, 3)))


def split(batch_size, process_count):
  """Returns the rows of each of several processes."""
  return np.split(np.arange(batch_size), process_count)


@pytest.mark.parametrize('process_count', [1, 2, 4])
@pytest.mark.parametrize('num_threads', [1, 4, None])
def test_a_batch_depends_on_seed_and_position_alone(
  source, data, draw, process_count, num_threads
):
  wanted = draw(source, 6, batch_size=8, seed=7)
  data.num_threads = num_threads
  shares = split(8, process_count)
  for start in 0, 4:
    drawn = draw(source, 6 - start, shares, batch_size=8, seed=7, start=start)
    np.testing.assert_equal(drawn, wanted[start:])


def test_starting_late_costs_nothing(data, draw):
  reads = []

  class Counting(synthetic.SyntheticSource):
    def __getitem__(self, index):
      reads.append(index)
      return super().__getitem__(index)

  counting = Counting(26, 5, 12, 10, 'train')
  data.num_threads = 2
  draw(counting, 1, batch_size=2, seed=0, start=10**12)
  assert len(reads) <= 2 * (1 + 2 * data.num_threads)


@pytest.mark.parametrize('process_count', [1, 2, 4])
@pytest.mark.parametrize('batch_size', [4, 8, 52])
def test_evaluation_sees_each_example_once(
  source, evaluate, process_count, batch_size
):
  shares = split(batch_size, process_count)
  batches = evaluate(source, shares, batch_size=batch_size)
  assert len(batches) == pipeline.num_eval_batches(26, batch_size)
  index, label, mask, image = (
    np.concatenate([drawn[key] for drawn in batches])
    for key in ('index', 'label', 'mask', 'image')
  )
  np.testing.assert_array_equal(index[:26], np.arange(26))
  np.testing.assert_array_equal(mask, index >= 0)
  assert mask.sum() == 26 and mask[:26].all()
  assert np.all(label[26:] == -1) and not image[26:].any()


def test_number_of_batches_counts_the_last_one():
  counts = [pipeline.num_eval_batches(n, 4) for n in (1, 4, 5, 8)]
  assert counts == [1, 1, 2, 2]


def test_rows_may_be_any_of_the_batch(source, draw, evaluate):
  rows = np.array([1, 2, 6])
  wanted = [
    {key: values[rows] for key, values in whole.items()}
    for whole in draw(source, 3, batch_size=8, seed=7)
  ]
  np.testing.assert_equal(draw(source, 3, [rows], batch_size=8, seed=7), wanted)
  batches = evaluate(source, [rows], batch_size=8)
  found = np.concatenate([drawn['index'] for drawn in batches]).tolist()
  assert found == [1, 2, 6, 9, 10, 14, 17, 18, 22, 25, -1, -1]


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


@pytest.mark.parametrize('process_count', [1, 2])
def test_large_batches_made_of_pieces_are_the_same(
  source, draw, evaluate, monkeypatch, process_count
):
  shares = split(150, process_count)
  wanted = draw(source, 3, shares, batch_size=150, seed=1)
  evaluated = evaluate(source, batch_size=26)
  for piece in 7, 1000:
    monkeypatch.setattr(pipeline, 'PIECE', piece)
    again = draw(source, 3, shares, batch_size=150, seed=1)
    np.testing.assert_equal(again, wanted)
    np.testing.assert_equal(evaluate(source, batch_size=26), evaluated)


def test_worker_processes_make_the_same_batches(source, data, draw, evaluate):
  wanted = draw(source, 3, batch_size=80, seed=7)
  evaluated = evaluate(source, batch_size=20)
  data.num_workers = 2
  drawn = draw(source, 2, batch_size=80, seed=7, start=1)
  np.testing.assert_equal(drawn, wanted[1:])
  np.testing.assert_equal(evaluate(source, batch_size=20), evaluated)


def test_repeated_examples_are_augmented_each_time(source, data):
  data.repeated_augmentation = 4
  drawn = next(pipeline.train_batches(source, data, batch_size=16, seed=0))
  index = drawn['index'].reshape(4, 4)
  assert (index == index[0]).all() and len(set(index[0])) == 4
  images = drawn['image'].reshape(4, 4, -1)
  assert all((images[0] != other).any(-1).all() for other in images[1:])


def test_the_pipeline_stops_its_threads_when_closed(source, data, wait_until):
  def loaders():
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith('grain')]

  def wait_for_the_end():
    gc.collect()
    wait_until(lambda: not loaders())

  wait_for_the_end()  # Of those of other tests.
  batches = pipeline.train_batches(source, data, batch_size=4, seed=0)
  next(batches)
  assert loaders()
  batches.close()
  wait_for_the_end()
