"""Attention weights are there for who asks, and cost nobody else a thing."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import errors, models
from vit_jax.analysis import attention_maps
from vit_jax.config import schema

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 64, 96, 3))
IMAGES = IMAGES.astype(np.float32)


def build(name, **fields):
  model = schema.default().model
  model.update(name=name, **fields)
  module = models.build(model, num_classes=5)
  shapes = jax.eval_shape(
    functools.partial(module.init, train=False), jax.random.key(0), IMAGES
  )
  noise = np.random.default_rng(1)
  params = jax.tree.map(
    lambda leaf: np.float32(0.3 * noise.standard_normal(leaf.shape)), shapes
  )
  return module, params['params']


def build_tiny(name='ViT-B/16', depth=2, **fields):
  return build(name, width=32, depth=depth, num_heads=2, mlp_dim=64, **fields)


def attention_weights(module, params, images):
  """Returns the maps of all layers, [depth, batch, heads, tokens, tokens]."""
  return jnp.stack(attention_maps.compute(module, params, images).layers)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize(
  'name, num_tokens', [('ViT-B/32', 7), ('R+ViT-Ti/16', 7)]
)
def test_each_token_gives_away_all_of_its_attention(name, num_tokens, dtype):
  module, params = build_tiny(name, dtype=dtype)
  weights = attention_weights(module, params, IMAGES)
  assert weights.shape == (2, 2, 2, num_tokens, num_tokens)
  assert weights.dtype == jnp.float32
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  assert weights.min() >= 0
  assert weights.std() > 0.01


def test_layers_come_in_order():
  # With queries of zero in layer 10, and in no other, its weights are equal.
  module, params = build_tiny(depth=11)
  layer = params['encoder']['block_10']['attention']
  layer['query'] = jax.tree.map(jnp.zeros_like, layer['query'])
  weights = attention_weights(module, params, IMAGES)
  spread = np.asarray(weights.std(axis=(1, 2, 3, 4)))
  assert spread[10] < 1e-6
  assert (spread[:10] > 1e-3).all()


def test_pooling_by_attention_does_not_get_in_the_way():
  module, params = build_tiny(pooling='attention')
  weights = attention_weights(module, params, IMAGES)
  assert weights.shape == (2, 2, 2, 24, 24)


def test_the_program_without_the_request_knows_nothing_of_it(monkeypatch):
  module, params = build_tiny()

  def program():
    def apply(params, images):
      return module.apply({'params': params}, images, train=False).logits

    return jax.jit(apply).lower(params, IMAGES).as_text()

  with_sow = program()
  monkeypatch.setattr(nn.Module, 'sow', lambda *args, **kwargs: False)
  assert program() == with_sow


@pytest.mark.parametrize(
  'name, title', [('BiT-R50x1', 'ResNet'), ('Mixer-S/16', 'Mixer')]
)
def test_a_model_without_attention_has_none(name, title):
  with pytest.raises(errors.UserError, match=f'{title} has no attention wei'):
    attention_maps.check(models.family(name))
