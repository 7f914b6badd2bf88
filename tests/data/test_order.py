import functools

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import order, pipeline
from vit_jax.data.sources import arrays, mixture, synthetic


def source(length):
  return synthetic.SyntheticSource(length, 2, 4, 4, 'train')


def indices(built, start, stop):
  return [built[position] for position in range(start, stop)]


@pytest.mark.parametrize('length', [1, 2, 7, 100, 1000])
def test_every_epoch_is_a_permutation(length):
  built = order.build(source(length), 0, 4, 1)
  for epoch in 0, 1, 5, 10**6:
    seen = indices(built, epoch * length, (epoch + 1) * length)
    assert sorted(seen) == list(range(length))


def test_epochs_and_seeds_have_orders_of_their_own():
  orders = {
    tuple(indices(order.build(source(50), seed, 4, 1), start, start + 50))
    for seed in (0, 1, 2)
    for start in (0, 50, 100)
  }
  assert len(orders) == 9


def test_any_position_can_be_asked_for_at_once():
  built = order.build(source(10**9), 0, 4, 1)
  assert 0 <= built[10**15] < 10**9


def test_repeats_come_in_one_batch_and_apart():
  once = order.build(source(60), 3, 4, 1)
  thrice = order.build(source(60), 3, 12, 3)
  for batch in range(10):
    seen = indices(thrice, 12 * batch, 12 * (batch + 1))
    assert seen[:4] == seen[4:8] == seen[8:]
    assert seen[:4] == indices(once, 4 * batch, 4 * (batch + 1))


def test_repeats_must_divide_the_batch():
  with pytest.raises(
    errors.UserError, match=r'repeated_augmentation=3 does not .* 8'
  ):
    order.build(source(9), 0, 8, 3)


def test_a_mixture_keeps_to_its_weights_at_any_time():
  mixed = mixture.join([source(30), source(500)], [3, 1])
  built = order.build(mixed, 0, 8, 1)
  seen = np.array(indices(built, 0, 4000))
  assert seen.min() == 0 and seen.max() < 530
  for stop in 4, 40, 400, 4000:
    assert abs(np.sum(seen[:stop] < 30) - 0.75 * stop) <= 1
  small, large = seen[seen < 30], seen[seen >= 30]
  for epoch in small[: 30 * 50].reshape(-1, 30):
    assert sorted(epoch) == list(range(30))
  assert sorted(large[:500]) == list(range(30, 530))
  assert built[10**12 + 3] == order.build(mixed, 0, 8, 1)[10**12 + 3]


def labelled(labels, num_classes=None):
  """Returns a source of examples with these labels; images are blank."""
  labels = np.asarray(labels)
  images = np.zeros((len(labels), 1, 1, 3), np.uint8)
  return arrays.ArraySource(images, labels, num_classes=num_classes)


def skewed(seed=0):
  """A few classes from 1 to 97 examples, in no order; class 3 has none."""
  labels = np.repeat([0, 1, 2, 4, 5], [97, 1, 12, 30, 3])
  return np.random.default_rng(seed).permutation(labels)


def test_balanced_classes_come_equally_often_at_any_time():
  labels = skewed()
  built = order.build(labelled(labels), 7, 8, 1, balance=True)
  drawn = labels[indices(built, 0, 5 * 400)]
  for turn in drawn.reshape(-1, 5):
    assert sorted(turn) == [0, 1, 2, 4, 5]
  assert len({tuple(turn) for turn in drawn.reshape(-1, 5)}) > 50


def test_in_a_balanced_class_every_example_comes_once_before_any_twice():
  labels = skewed()
  built = order.build(labelled(labels), 7, 8, 1, balance=True)
  drawn = np.array(indices(built, 0, 5 * 400))
  for label in 0, 1, 2, 4, 5:
    own = np.flatnonzero(labels == label)
    seen = drawn[labels[drawn] == label]
    epochs = seen[: len(seen) // len(own) * len(own)].reshape(-1, len(own))
    assert (np.sort(epochs) == own).all()
    if len(own) > 9:
      assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_a_balanced_order_has_no_state_and_depends_on_the_seed():
  make = functools.partial(order.build, labelled(skewed()), balance=True)
  whole = indices(make(3, 8, 1), 0, 300)
  assert indices(make(3, 8, 1), 150, 300) == whole[150:]
  assert make(3, 8, 1)[10**15] == make(3, 8, 1)[10**15]
  assert indices(make(4, 8, 1), 0, 300) != whole
  twice = indices(make(3, 16, 2), 0, 600)
  for batch in range(30):
    seen = twice[16 * batch : 16 * (batch + 1)]
    assert seen[:8] == seen[8:] == whole[8 * batch : 8 * (batch + 1)]


@pytest.mark.parametrize('length', [3, 10**4])
def test_without_a_label_or_out_of_range_nothing_is_drawn(length):
  labels = np.full(length, -1)
  labels[[0, 2]] = 1, 0
  source = labelled(labels, num_classes=2)
  source.labels = np.where(np.arange(length) == 1, 2, labels)
  built = order.build(source, 0, 4, 1, balance=True)
  assert {built[position] for position in range(100)} == {0, 2}


def test_a_balanced_mixture_balances_within_each_part():
  parts = [labelled(skewed()), labelled([0] * 50 + [1] * 2)]
  mixed = mixture.join(parts, [1, 3])
  built = order.build(mixed, 0, 8, 1, balance=True)
  drawn = np.array(indices(built, 0, 4000))
  in_second = drawn >= 143
  assert abs(in_second.sum() - 3000) <= 1
  second = parts[1].labels[drawn[in_second] - 143]
  assert abs(np.mean(second) - 0.5) < 0.001
  first = np.bincount(parts[0].labels[drawn[~in_second]])
  assert first[3] == 0 and np.ptp(first[[0, 1, 2, 4, 5]]) <= 1


def test_balancing_what_has_no_labels_is_refused():
  source = labelled([-1, -1, -1], num_classes=2)
  with pytest.raises(
    errors.UserError, match=r'data\.balance=true needs labels.* of 3 training'
  ):
    order.build(source, 0, 4, 1, balance=True)


def test_balanced_batches_are_the_same_wherever_they_are_made():
  config = schema.default()
  config.data.balance = True
  config.data.resolution = (1,)
  config.data.train_crop = 'stretch'
  labels = skewed()
  make = functools.partial(
    pipeline.train_batches, labelled(labels), batch_size=10, seed=1
  )

  def taken(count, **options):
    data = config.data.copy_and_resolve_references()
    data.num_workers = options.pop('num_workers', 0)
    batches = make(data, **options)
    found = [next(batches)['index'] for _ in range(count)]
    batches.close()
    return np.stack(found)

  whole = taken(6)
  assert (np.sort(labels[whole].reshape(-1, 5)) == [0, 1, 2, 4, 5]).all()
  np.testing.assert_array_equal(taken(3, start=3), whole[3:])
  np.testing.assert_array_equal(taken(3, num_workers=1), whole[:3])
  rows = np.array([1, 4, 7])
  np.testing.assert_array_equal(taken(6, rows=rows), whole[:, rows])
