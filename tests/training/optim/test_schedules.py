"""Learning rates against values computed by hand."""

import jax
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.training.optim import schedules


def _rates(steps, num_steps=100, **changes):
  optimizer = schema.default().optimizer
  optimizer.update(
    {'learning_rate': 0.8, 'warmup_steps': 20, 'end_learning_rate': 0.2}
  )
  optimizer.update(changes)
  learning_rate = schedules.build(optimizer, num_steps)
  return np.array([learning_rate(step) for step in steps])


@pytest.mark.parametrize('schedule', schedules.SCHEDULES)
def test_warmup_rises_in_a_line_from_zero_to_the_peak(schedule):
  rates = _rates([0, 5, 10, 20], schedule=schedule)
  np.testing.assert_allclose(rates, [0, 0.2, 0.4, 0.8], rtol=1e-6)


def test_cosine_is_halfway_down_in_the_middle():
  rates = _rates([40, 60, 80, 100, 200], schedule='cosine')
  quarter = 0.3 * np.cos(np.pi / 4)
  expected = [0.5 + quarter, 0.5, 0.5 - quarter, 0.2, 0.2]
  np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_linear_falls_by_the_same_amount_each_step():
  rates = _rates([20, 40, 60, 80, 100, 200], schedule='linear')
  expected = [0.8, 0.65, 0.5, 0.35, 0.2, 0.2]
  np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_rsqrt_halves_after_three_timescales():
  rates = _rates([20, 20 + 30, 20 + 80], schedule='rsqrt', rsqrt_timescale=10)
  np.testing.assert_allclose(rates, [0.8, 0.4, 0.8 / 3], rtol=1e-6)


def test_rsqrt_with_the_warmup_as_timescale_is_that_of_vaswani():
  steps = np.arange(1, 100)
  rates = _rates(steps, schedule='rsqrt', rsqrt_timescale=20)
  expected = 0.8 * 20**0.5 * np.minimum(steps**-0.5, steps * 20**-1.5)
  np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_constant_stays_at_the_peak():
  np.testing.assert_allclose(_rates([20, 50, 100], schedule='constant'), 0.8)


@pytest.mark.parametrize('schedule', schedules.SCHEDULES)
def test_without_warmup_the_first_step_is_at_the_peak(schedule):
  rates = _rates([0], schedule=schedule, warmup_steps=0)
  np.testing.assert_allclose(rates, [0.8], rtol=1e-6)


@pytest.mark.parametrize('schedule', schedules.SCHEDULES)
def test_a_warmup_as_long_as_the_training_is_finite(schedule):
  rates = _rates(range(22), 20, schedule=schedule)
  assert np.all(np.diff(rates[:21]) > 0)
  assert np.all(np.isfinite(rates))


@pytest.mark.parametrize('schedule', schedules.SCHEDULES)
def test_after_the_warmup_no_schedule_rises(schedule):
  rates = _rates(range(20, 130), schedule=schedule)
  assert np.all(np.diff(rates) <= 0)


def test_the_rate_is_the_same_under_jit():
  learning_rate = schedules.build(schema.default().optimizer, 20_000)
  for step in 0, 123, 10_000, 19_999:
    np.testing.assert_allclose(
      jax.jit(learning_rate)(step), learning_rate(step), rtol=1e-6
    )


def test_a_warmup_longer_than_the_training_is_a_user_error():
  with pytest.raises(errors.UserError, match='longer than the training of 10'):
    _rates([0], 10)


def test_an_unknown_schedule_is_a_user_error():
  with pytest.raises(errors.UserError, match='Did you mean cosine'):
    _rates([0], schedule='cosin')
