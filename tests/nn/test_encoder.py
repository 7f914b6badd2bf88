"""The encoder: where dropout sits, how stochastic depth grows."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.nn import encoder

BATCH, TOKENS, WIDTH, HEADS, MLP_DIM, DEPTH = 2, 4, 8, 2, 16, 3


def build(depth=DEPTH, dropout=0.0, dtype=jnp.float32, **fields):
  shared = {'dropout': dropout, 'dtype': dtype}
  block = encoder.Block(num_heads=HEADS, mlp_dim=MLP_DIM, **shared)
  return encoder.Encoder(block=block, depth=depth, **shared, **fields)


def drawn_masks(module, *, train):
  """Returns {shape: how many random arrays of it a forward pass draws}."""
  x = jnp.zeros((BATCH, TOKENS, WIDTH))
  params = module.init(jax.random.key(0), x, (2, 2), train=False)

  def apply(rng):
    rngs = {'dropout': rng}
    return module.apply(params, x, (2, 2), train=train, rngs=rngs)

  shapes = collections.Counter()

  def walk(jaxpr):
    for equation in jaxpr.eqns:
      if equation.primitive.name == 'random_bits':
        shapes[equation.outvars[0].aval.shape] += 1
      for value in equation.params.values():
        if hasattr(value, 'jaxpr'):
          walk(value.jaxpr)

  walk(jax.make_jaxpr(apply)(jax.random.key(1)).jaxpr)
  return shapes


def test_dropout_follows_positions_and_every_dense_layer_but_qkv():
  # ViT paper, appendix B.1. Per block: the attention's output and the MLP's.
  assert drawn_masks(build(dropout=0.5), train=True) == {
    (BATCH, TOKENS, WIDTH): 1 + 2 * DEPTH,
    (BATCH, TOKENS, MLP_DIM): DEPTH,
  }


@pytest.mark.parametrize('placement', ['stem', 'every_layer', 'shared'])
def test_dropout_takes_the_first_positions_too(placement, rng):
  module = build(1, position_placement=placement, dropout=1 - 1e-7)
  x = jnp.ones((BATCH, TOKENS, WIDTH))
  params = module.init(rng, x, (2, 2), train=False)
  out = module.apply(params, x, (2, 2), train=True, rngs={'dropout': rng})
  np.testing.assert_array_equal(out, 0)


def test_stochastic_depth_skips_two_branches_in_all_blocks_but_the_first():
  assert drawn_masks(build(drop_path=0.5), train=True) == {
    (BATCH, 1, 1): 2 * (DEPTH - 1)
  }


@pytest.mark.parametrize('fields', [{'dropout': 0.5}, {'drop_path': 0.5}])
def test_evaluation_draws_nothing(fields):
  assert not drawn_masks(build(**fields), train=False)


def test_stochastic_depth_rises_linearly_to_its_rate():
  rates = []

  def record(next_call, args, kwargs, context):
    if type(context.module).__name__ == 'DropPath':
      rates.append(args[1])
    return next_call(*args, **kwargs)

  module = build(drop_path=0.3)
  x = jnp.zeros((BATCH, TOKENS, WIDTH))
  with encoder.nn.intercept_methods(record):
    module.init(jax.random.key(0), x, (2, 2), train=False)
  np.testing.assert_allclose(rates, [0, 0, 0.15, 0.15, 0.3, 0.3])


def test_almost_all_dropped_leaves_the_residual_of_positions(rng):
  x = jax.random.normal(rng, (BATCH, TOKENS, WIDTH))
  block = encoder.Block(num_heads=HEADS, mlp_dim=MLP_DIM)
  params = block.init(rng, x, train=False)
  out = block.apply(
    params, x, None, 0.999_999, train=True, rngs={'dropout': rng}
  )
  np.testing.assert_array_equal(out, x)
  assert np.abs(block.apply(params, x, train=False) - x).max() > 0.1


def test_bfloat16_stays_near_float32(rng):
  x = jax.random.normal(rng, (BATCH, TOKENS, WIDTH))
  params = build().init(rng, x, (2, 2), train=False)
  apply = functools.partial(
    build(dtype=jnp.bfloat16).apply, params, grid=(2, 2), train=False
  )
  half = apply(x.astype(jnp.bfloat16))
  full = build().apply(params, x, (2, 2), train=False)
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float32(half), full, atol=0.1)
