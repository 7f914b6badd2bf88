"""Attention is what the equations say."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.nn import attention, mlp

WIDTH, HEADS = 8, 2


def run(layer, *args, seed=0):
  """Returns the output, the parameters and the weights of each head."""
  params = layer.init(jax.random.key(seed), *args)
  out, state = layer.apply(params, *args, mutable=['intermediates'])
  return out, params['params'], state['intermediates']['weights'][0]


def project(params, name, x):
  return np.einsum('bqw,whd->bqhd', x, params[name]['kernel'])


@pytest.fixture
def tokens(rng):
  return jax.random.normal(rng, (2, 5, WIDTH))


def test_weights_sum_to_one_in_float32_whatever_the_dtype(tokens):
  layer = attention.Attention(num_heads=HEADS, dtype=jnp.bfloat16)
  out, _, weights = run(layer, tokens, tokens)
  assert out.dtype == jnp.bfloat16
  assert weights.dtype == jnp.float32
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_relative_logits_are_those_of_a_loop_over_offsets(tokens, rng):
  keys = jax.random.normal(rng, (2 * 5 - 1, WIDTH))
  layer = attention.Attention(num_heads=HEADS)
  _, params, weights = run(layer, tokens, tokens, keys)
  head_dim = WIDTH // HEADS
  query, key = project(params, 'query', tokens), project(params, 'key', tokens)
  keys = np.asarray(keys).reshape(-1, HEADS, head_dim)
  logits = np.zeros((2, HEADS, 5, 5))
  for batch, head, i, j in np.ndindex(*logits.shape):
    offset = keys[j - i + 4, head]  # From -4 to 4.
    logits[batch, head, i, j] = query[batch, i, head] @ (
      key[batch, j, head] + offset
    )
  expected = nn.softmax(logits / np.sqrt(head_dim))
  np.testing.assert_allclose(weights, expected, atol=1e-6)


@pytest.mark.parametrize('is_relative', [False, True])
def test_gradients_are_those_of_the_equations(tokens, rng, is_relative):
  queries = jax.random.normal(jax.random.key(1), (2, 4, WIDTH))
  keys = jax.random.normal(rng, (4 + 5 - 1, WIDTH)) if is_relative else None
  layer = attention.Attention(num_heads=HEADS)
  params = layer.init(jax.random.key(0), queries, tokens, keys)

  def equations(params, queries, tokens, keys):
    parts = params['params']
    query, key, value = (
      jnp.einsum('bqw,whd->bhqd', x, parts[name]['kernel'])
      for name, x in (('query', queries), ('key', tokens), ('value', tokens))
    )
    logits = jnp.einsum('bhqd,bhkd->bhqk', query, key)
    if keys is not None:
      for i, j in np.ndindex(4, 5):
        offset = keys[j - i + 3].reshape(HEADS, -1)
        logits = logits.at[..., i, j].add(
          jnp.einsum('bhd,hd->bh', query[:, :, i], offset)
        )
    powers = jnp.exp(logits / np.sqrt(WIDTH // HEADS))
    weights = powers / powers.sum(-1, keepdims=True)
    heads = jnp.einsum('bhqk,bhkd->bqhd', weights, value)
    return jnp.einsum('bqhd,hdw->bqw', heads, parts['out']['kernel'])

  def slope(function):
    loss = lambda *args: jnp.sum(jnp.sin(function(*args)))  # noqa: E731
    return jax.grad(loss, range(4))(params, queries, tokens, keys)

  found, expected = slope(layer.apply), slope(equations)
  for part in found[0]['params'].values():  # Equations have no biases.
    part.pop('bias')
  for part in expected[0]['params'].values():
    part.pop('bias')
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected
  )


def test_without_relative_keys_only_content_counts(tokens):
  layer = attention.Attention(num_heads=HEADS)
  order = jnp.array([3, 1, 4, 0, 2])
  params = layer.init(jax.random.key(0), tokens, tokens)
  out = layer.apply(params, tokens, tokens)
  permuted = layer.apply(params, tokens[:, order], tokens[:, order])
  np.testing.assert_allclose(permuted, out[:, order], atol=1e-6)


def test_pooling_is_blind_to_order_and_returns_one_vector(tokens):
  layer = attention.AttentionPooling(
    num_heads=HEADS, mlp=mlp.Mlp(mlp_dim=4 * WIDTH)
  )
  params = layer.init(jax.random.key(0), tokens, train=False)
  out = layer.apply(params, tokens, train=False)
  backwards = layer.apply(params, tokens[:, ::-1], train=False)
  assert out.shape == (2, WIDTH)
  np.testing.assert_allclose(out, backwards, atol=1e-6)


def test_pooling_is_a_probe_that_attends_then_an_mlp(tokens):
  layer = attention.AttentionPooling(
    num_heads=HEADS, mlp=mlp.Mlp(mlp_dim=4 * WIDTH)
  )
  params = layer.init(jax.random.key(0), tokens, train=False)
  parts = params['params']
  probe = jnp.tile(parts['probe'], (2, 1, 1))
  x = attention.Attention(num_heads=HEADS).apply(
    {'params': parts['attention']}, probe, tokens
  )
  y = nn.LayerNorm().apply({'params': parts['norm']}, x)
  y = mlp.Mlp(mlp_dim=4 * WIDTH).apply({'params': parts['mlp']}, y, train=False)
  out = layer.apply(params, tokens, train=False)
  np.testing.assert_allclose(out, (x + y)[:, 0], atol=1e-6)
