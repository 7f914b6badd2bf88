"""`layers=`: the tokens after any layer, as a model cut off there has them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import schema

TINY = {'width': 16, 'depth': 3, 'mlp_dim': 32}
HEADS = {'num_heads': 2}
MODELS = {
  'ViT-B/16': TINY | HEADS,
  'R+ViT-Ti/16': TINY | HEADS,
  'Mixer-S/16': TINY,
  'BiT-R8x1': {},
}


def build(name, **fields):
  model = schema.default().model
  model.update(name=name, **fields)
  return models.build(model, 5)


def draw(module):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: np.float32(0.3 * rng.standard_normal(leaf.shape)),
    models.params_of(module, (32, 32)),
  )


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(module, params, pixels, layers=()):
  return module.apply({'params': params}, pixels, train=False, layers=layers)


@pytest.fixture(scope='module')
def pixels():
  rng = np.random.default_rng(1)
  return rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize(
  'options',
  [{}, {'scan': True}, {'remat': 'full'}, {'scan': True, 'remat': 'dots'}],
)
def test_a_layer_is_the_end_of_a_model_cut_off_there(options, pixels):
  module = build('ViT-B/16', **TINY, **HEADS, **options)
  params = draw(build('ViT-B/16', **TINY, **HEADS))
  given = pytrees.stack(params) if options.get('scan') else params
  out = apply(module, given, pixels, (2, -1, 1))
  assert [layer.shape for layer in out.layers] == [(2, 5, 16)] * 3
  for depth, tokens in zip((2, 3, 1), out.layers):
    cut = build('ViT-B/16', **TINY | HEADS | {'depth': depth})
    norm = params['encoder']['norm']
    mean = tokens.mean(-1, keepdims=True)
    normed = (tokens - mean) / jnp.sqrt(tokens.var(-1, keepdims=True) + 1e-6)
    kept = {
      key: leaf
      for key, leaf in params['encoder'].items()
      if not key.startswith('block_') or int(key[6:]) < depth
    }
    wanted = apply(cut, {**params, 'encoder': kept}, pixels).tokens
    scale, bias = (norm[key][None, None] for key in ('scale', 'bias'))
    np.testing.assert_allclose(normed * scale + bias, wanted, atol=1e-4)


@pytest.mark.parametrize('name', MODELS)
def test_to_ask_for_layers_changes_nothing_else(name, pixels):
  module = build(name, **MODELS[name])
  params = draw(module)
  last = 3
  if name.startswith('BiT'):
    last = len(module.units)
  plain, out = (apply(module, params, pixels, each) for each in ((), (1, last)))
  assert plain.layers == ()
  assert [layer.ndim for layer in out.layers] == [3, 3]
  assert out.layers[1].shape == out.tokens.shape
  np.testing.assert_allclose(out.logits, plain.logits, rtol=1e-4, atol=1e-4)
  for wrong in (0, last + 1, -last - 1, 'a'):
    with pytest.raises(errors.UserError, match=f'1 to {last}'):
      module.apply({'params': params}, pixels, train=False, layers=(wrong,))
