import numpy as np
import pytest

from vit_jax import errors
from vit_jax.data import order
from vit_jax.data.sources import mixture, synthetic


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
