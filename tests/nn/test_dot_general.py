"""A product by two matrices is the product."""

import jax
import numpy as np
import pytest

from vit_jax.nn import dot_general as dot_generals


@pytest.mark.parametrize(
  ('x_shape', 'kernel_shape', 'count'),
  [
    ((2, 3, 4), (4, 5), 1),
    ((2, 3, 4), (4, 5, 6), 1),
    ((2, 3, 4, 5), (4, 5, 6), 2),
    ((2, 1, 1, 2, 2, 3), (2, 2, 3, 4), 3),
  ],
)
def test_values_and_gradients_are_those_of_jax(
  rng, x_shape, kernel_shape, count
):
  x, kernel = (
    jax.random.normal(key, shape)
    for key, shape in zip(jax.random.split(rng), (x_shape, kernel_shape))
  )
  axes = tuple(range(len(x_shape) - count, len(x_shape)))
  numbers = ((axes, tuple(range(count))), ((), ()))

  def compare(dot_general):
    out, pull = jax.vjp(lambda x, k: dot_general(x, k, numbers), x, kernel)
    return out, *pull(jax.numpy.cos(out))

  ours, theirs = map(compare, (dot_generals.dot_general, jax.lax.dot_general))
  for a, b in zip(ours, theirs):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_no_product_of_a_training_step_has_more_than_two_dimensions(rng):
  x, kernel = jax.numpy.ones((2, 3, 4)), jax.numpy.ones((4, 5, 6))
  numbers = (((2,), (0,)), ((), ()))

  def loss(x, kernel):
    return dot_generals.dot_general(x, kernel, numbers).sum()

  jaxpr = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(x, kernel)
  dots = [e for e in jaxpr.eqns if e.primitive.name == 'dot_general']
  assert len(dots) == 3
  assert all(v.aval.ndim == 2 for dot in dots for v in dot.invars)
