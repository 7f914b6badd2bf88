"""Parameters tell which model they are of."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import schema

SMALL = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}


def shapes_of(name, num_classes=5, side=224, **fields):
  config = schema.default()
  config.model.update(name=name, **fields)
  model = models.build(config.model, num_classes)
  images = jnp.zeros((1, side, side, 3))
  tree = jax.eval_shape(
    lambda rng: model.init(rng, images, train=False), jax.random.key(0)
  )
  return {p: leaf.shape for p, leaf in pytrees.flatten(tree['params']).items()}


def without_heads(shapes):
  """Makes projections flat, as PyTorch has them."""
  width = shapes['encoder/norm/scale'][0]
  return {
    path: (width, width) if '/query/kernel' in path else shape
    for path, shape in shapes.items()
  }


@pytest.mark.parametrize('name', models.NAMES)
def test_every_named_model_is_recognised(name):
  found = models.infer_config(shapes_of(name))
  assert found.fields['name'] == name
  assert found.num_classes == 5
  assert found.image_size in (None, (224, 224))


@pytest.mark.parametrize(
  'fields',
  [
    {'pooling': 'class_token'},
    {'pooling': 'average', 'head': 'pre_logits'},
    {'pooling': 'attention'},
    {'pooling': 'average', 'position_embedding': 'sincos_2d'},
  ],
)
def test_variants_are_recognised(fields):
  found = models.infer_config(shapes_of('ViT-S/32', 0, 384, **fields))
  assert found.fields == {'name': 'ViT-S/32', **fields}
  assert found.num_classes == 0
  sines = 'position_embedding' in fields
  assert found.image_size == (None if sines else (384, 384))


@pytest.mark.parametrize('name', ['ViT-B/8', 'R+ViT-Ti/16'])
def test_a_model_of_any_size_is_recognised_by_its_numbers(name):
  shapes = shapes_of(name, side=64, **SMALL)
  found = models.infer_config(shapes)
  config = schema.default()
  config.model.update(found.fields)
  assert shapes_of(**config.model, num_classes=5, side=64) == shapes


def test_the_name_tells_the_heads_where_the_file_does_not():
  shapes = without_heads(shapes_of('ViT-S/16'))
  assert models.infer_config(shapes).fields['name'] == 'ViT-S/16'
  shapes = without_heads(shapes_of('ViT-S/16', **SMALL))
  with pytest.raises(errors.UserError, match='not tell the number of heads'):
    models.infer_config(shapes)
  found = models.infer_config(shapes, num_heads=2)
  assert found.fields['num_heads'] == 2


def test_a_given_name_counts():
  shapes = shapes_of('ViT-B/16', pooling='average', **SMALL)
  found = models.infer_config(shapes, 'ViT-S/16-gap')
  assert found.fields == {'name': 'ViT-S/16', 'pooling': 'average'}


def test_families_of_the_same_parameters_are_told_apart_by_name(monkeypatch):
  twin = dataclasses.replace(
    models.FAMILIES['ViT'],
    names=('DeiT-B/16',),
    infer_config=lambda shapes, name, num_heads: ({'name': name}, None),
  )
  monkeypatch.setitem(models.FAMILIES, 'DeiT', twin)
  assert models.family('DeiT-S/8') is twin
  shapes = shapes_of('DeiT-S/16')
  assert models.infer_config(shapes).fields['name'] == 'ViT-S/16'
  found = models.infer_config(shapes, 'DeiT-S/16')
  assert found.fields == {'name': 'DeiT-S/16'}


def test_positions_that_are_no_square_tell_no_size():
  shapes = shapes_of('ViT-S/16')
  path = 'encoder/position_embedding/embedding'
  found = models.infer_config(shapes | {path: (1, 7, 384)})
  assert found.image_size is None


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({}, 'of no model that is known: strange'),
    ({'stem/embedding/kernel': (16, 8, 3, 384)}, '16 x 8 pixels'),
    ({'stem/root_conv/kernel': (7, 7, 3, 64)}, r'No hybrid has .* of \(\)'),
  ],
)
def test_what_no_model_has_is_refused(changes, message):
  shapes = shapes_of('ViT-S/16') | changes if changes else {'strange': (1,)}
  with pytest.raises(errors.UserError, match=message):
    models.infer_config(shapes)


def test_a_resnet_of_other_blocks_is_refused():
  shapes = shapes_of('BiT-R50x1')
  del shapes['block_4/unit_3/conv_1/kernel']
  with pytest.raises(errors.UserError, match=r'No BiT has blocks of \(3, 4, 6'):
    models.infer_config(shapes)


def test_a_mixer_of_other_hidden_units_is_refused():
  shapes = shapes_of('Mixer-S/16', **{'depth': 1, 'width': 8})
  assert models.infer_config(shapes).fields['depth'] == 1
  shapes['block_0/token_mlp/hidden/kernel'] = (196, 7)
  with pytest.raises(errors.UserError, match='mixes patches in 7 hidden'):
    models.infer_config(shapes)
