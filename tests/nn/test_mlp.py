"""Both kinds of GELU, and the shape of the MLP."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.nn import mlp

X = np.linspace(-4, 4, 81, dtype=np.float32)


def test_erf_is_the_exact_function():
  exact = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in X]
  np.testing.assert_allclose(mlp.GELU['erf'](X), exact, atol=1e-6)


def test_tanh_is_the_approximation():
  inner = np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)
  np.testing.assert_allclose(
    mlp.GELU['tanh'](X), X * (1 + np.tanh(inner)) / 2, atol=1e-6
  )
  assert np.abs(mlp.GELU['tanh'](X) - mlp.GELU['erf'](X)).max() > 1e-4


@pytest.mark.parametrize('gelu', mlp.GELU)
def test_the_mlp_is_two_dense_layers_around_it(gelu, rng):
  x = jax.random.normal(rng, (2, 3, 4))
  layer = mlp.Mlp(mlp_dim=16, gelu=gelu)
  params = layer.init(rng, x, train=False)
  hidden, out = params['params']['hidden'], params['params']['out']
  y = mlp.GELU[gelu](x @ hidden['kernel'] + hidden['bias'][None, None])
  y = y @ out['kernel'] + out['bias'][None, None]
  np.testing.assert_allclose(layer.apply(params, x, train=False), y, atol=1e-5)
  assert y.dtype == jnp.float32
