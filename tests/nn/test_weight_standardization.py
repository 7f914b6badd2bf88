"""Standardised kernels, in the two ways of the released families."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.nn import weight_standardization as ws

WAYS = (ws.divide_by_deviation, ws.divide_by_root_of_variance)
AXES = (0, 1, 2)


@pytest.fixture
def kernel(rng):
  return 3 + jax.random.normal(rng, (3, 3, 8, 5))


@pytest.mark.parametrize('standardize', WAYS)
def test_every_output_channel_has_mean_zero_and_variance_one(
  standardize, kernel
):
  standard = np.asarray(standardize(kernel))
  np.testing.assert_allclose(standard.mean(AXES), 0, atol=1e-5)
  np.testing.assert_allclose(standard.var(AXES), 1, atol=1e-4)


def test_the_epsilons_are_those_of_the_two_families(kernel):
  small = 1e-5 * np.asarray(kernel, np.float64)
  small -= small.mean(AXES)
  deviation = small.std(AXES)  # About as large as the epsilons.
  expected = {
    ws.divide_by_deviation: small / (deviation + 1e-5),
    ws.divide_by_root_of_variance: small / np.sqrt(deviation**2 + 1e-10),
  }
  for standardize, wanted in expected.items():
    ours = standardize(jnp.float32(small))
    np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-3)
  one, other = expected.values()
  assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize('standardize', WAYS)
def test_a_constant_kernel_stays_finite(standardize):
  assert np.isfinite(standardize(jnp.ones((3, 3, 2, 4)))).all()


def test_same_pads_the_end_and_a_number_pads_all_sides(rng):
  x = jax.random.normal(rng, (1, 8, 8, 2))

  def convolve(padding, x):
    layer = ws.StdConv(
      features=4,
      kernel_size=3,
      stride=2,
      padding=padding,
      standardize=ws.divide_by_deviation,
    )
    return layer.apply(layer.init(rng, x), x)

  def pad(before, after):
    return jnp.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))

  np.testing.assert_allclose(convolve('SAME', x), convolve(0, pad(0, 1)))
  np.testing.assert_allclose(convolve(1, x), convolve(0, pad(1, 1)))
  assert np.abs(convolve('SAME', x) - convolve(1, x)).max() > 0.1


def test_activations_are_bfloat16_and_the_kernel_is_float32(rng):
  x = jnp.ones((1, 8, 8, 2))
  layer = ws.StdConv(
    features=4,
    kernel_size=3,
    stride=1,
    padding=1,
    standardize=ws.divide_by_deviation,
    dtype=jnp.bfloat16,
  )
  out, params = layer.init_with_output(rng, x)
  assert out.dtype == jnp.bfloat16
  assert params['params']['kernel'].dtype == jnp.float32
