"""MLP-Mixer: sizes, the two directions of mixing, and what does not fit."""

import functools

import jax
import jax.numpy as jnp
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import schema

# As counted for the models that Google released, with 1,000 classes.
COUNTS = {
  'Mixer-B/16': 59_880_472,
  'Mixer-B/32': 60_293_428,
  'Mixer-L/16': 208_196_168,
}


def build(name, num_classes=1000, **fields):
  config = schema.default()
  config.model.update(name=name, **fields)
  return models.build(config.model, num_classes)


def small(**fields):
  return build('Mixer-S/8', 3, width=16, depth=2, mlp_dim=24, **fields)


def init(model, rng, side):
  images = jnp.zeros((1, side, side, 3))
  return jax.jit(functools.partial(model.init, train=False))(rng, images)


@pytest.mark.parametrize('name', COUNTS)
def test_number_of_parameters_is_as_released(name):
  model = build(name)
  tree = jax.eval_shape(
    functools.partial(init, model, side=224), jax.random.key(0)
  )
  leaves = pytrees.flatten(tree).values()
  assert sum(leaf.size for leaf in leaves) == COUNTS[name]


@pytest.mark.parametrize('name', [n for n in models.NAMES if 'Mixer' in n])
def test_every_size_gives_logits(name):
  model = build(name, num_classes=10)

  def run(rng, images):
    return model.init_with_output(rng, images, train=False)[0]

  image = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
  output = jax.eval_shape(run, jax.random.key(0), image)
  assert output.logits.shape == (2, 10)
  assert output.pooled.shape == output.tokens.shape[::2]


def test_every_patch_sees_every_other(rng):
  model = small()
  params = init(model, rng, side=32)

  @jax.jit
  def tokens(image):
    return model.apply(params, image, train=False).tokens

  image = jax.random.uniform(rng, (1, 32, 32, 3))
  changed = image.at[0, 0, 0].add(1.0)
  difference = jnp.abs(tokens(image) - tokens(changed)).max(axis=(0, 2))
  assert (difference > 0).all()


def test_no_head_gives_no_logits(rng):
  model = build('Mixer-S/8', 0, width=16, depth=1, mlp_dim=24)
  images = jnp.zeros((1, 16, 16, 3))
  output, _ = model.init_with_output(rng, images, train=False)
  assert output.logits is None


def test_drop_path_acts_in_training_only(rng):
  model = small(drop_path=0.9)
  params = init(model, rng, side=16)
  images = jax.random.uniform(rng, (4, 16, 16, 3))

  @functools.partial(jax.jit, static_argnames='train')
  def tokens(train):
    rngs = {'dropout': rng}
    return model.apply(params, images, train=train, rngs=rngs).tokens

  still, moving = tokens(train=False), tokens(train=True)
  assert not jnp.allclose(still, moving)


def test_a_field_of_transformers_is_refused():
  with pytest.raises(errors.UserError, match='num_heads=4 does not fit'):
    small(num_heads=4)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('head_bias', -10.0),
    ('dropout', 0.1),
    ('drop_path', 0.1),
    ('gelu', 'erf'),
    ('dtype', 'bfloat16'),
    ('scan', True),
    ('remat', 'full'),
  ],
)
def test_what_a_mixer_shares_with_transformers_is_taken(field, value):
  assert small(**{field: value}) != small()


def test_an_unknown_size_is_refused():
  with pytest.raises(errors.UserError, match='The size in model'):
    build('Mixer-Q/16')
