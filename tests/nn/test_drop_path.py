"""Stochastic depth drops whole branches and keeps the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.nn import drop_path

RATE = 0.25


@pytest.fixture
def dropped(rng):
  x = jnp.ones((4000, 3, 2))
  return drop_path.DropPath(RATE).apply(
    {}, x, train=True, rngs={'dropout': rng}
  )


def test_an_example_is_dropped_as_a_whole_or_scaled_up(dropped):
  flat = np.asarray(dropped).reshape(4000, -1)
  assert (flat == flat[:, :1]).all()
  np.testing.assert_allclose(np.unique(flat), [0, 1 / (1 - RATE)], rtol=1e-6)


def test_the_rate_is_the_share_that_is_dropped_and_the_mean_stays(dropped):
  share = (np.asarray(dropped)[:, 0, 0] == 0).mean()
  deviation = np.sqrt(RATE * (1 - RATE) / 4000)
  assert abs(share - RATE) < 4 * deviation
  assert abs(dropped.mean() - 1) < 4 * deviation / (1 - RATE)


def test_evaluation_changes_nothing_and_needs_no_rng():
  x = jnp.arange(6.0).reshape(2, 3)
  out = drop_path.DropPath(RATE).apply({}, x, train=False)
  np.testing.assert_array_equal(out, x)


def test_a_rate_of_zero_changes_nothing_and_needs_no_rng():
  x = jnp.arange(6.0).reshape(2, 3)
  out = drop_path.DropPath(0.0).apply({}, x, train=True)
  np.testing.assert_array_equal(out, x)


def test_the_dtype_stays(rng):
  x = jnp.ones((2, 3), jnp.bfloat16)
  out = drop_path.DropPath(RATE).apply({}, x, train=True, rngs={'dropout': rng})
  assert out.dtype == jnp.bfloat16


def test_the_same_rng_drops_the_same(rng):
  x = jax.random.normal(rng, (64, 2))
  layer = drop_path.DropPath(0.5)
  one, two = (
    layer.apply({}, x, train=True, rngs={'dropout': rng}) for _ in range(2)
  )
  np.testing.assert_array_equal(one, two)
