"""Every model has exactly as many parameters as it should."""

import importlib.util
import math
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

from vit_jax import models
from vit_jax.config import schema
from vit_jax.models import parameter_counts, vit

COUNTS_PATH = pathlib.Path(__file__).parents[1] / 'golden/parameter_counts.py'


def load_counts():
  spec = importlib.util.spec_from_file_location('counts', COUNTS_PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


counts = load_counts()


def count(name, resolution=224, num_classes=1000, **fields):
  model = schema.default().model
  model.update(name=name, **fields)
  module = models.build(model, num_classes)
  images = jax.ShapeDtypeStruct((1, resolution, resolution, 3), jnp.float32)
  shapes = jax.eval_shape(
    lambda rng, images: module.init(rng, images, train=False),
    jax.random.key(0),
    images,
  )
  assert set(shapes) == {'params'}, 'A model keeps nothing but parameters.'
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def dense(inputs, outputs):
  return (inputs + 1) * outputs


def count_vit_by_hand(width, depth, mlp_dim, patch_size, num_classes=1000):
  norm = 2 * width
  attention = 4 * dense(width, width)
  mlp = dense(width, mlp_dim) + dense(mlp_dim, width)
  num_tokens = (224 // patch_size) ** 2 + 1
  return (
    dense(3 * patch_size**2, width)
    + (1 + num_tokens) * width  # Class token, position embedding.
    + depth * (attention + mlp + 2 * norm)
    + norm
    + dense(width, num_classes)
  )


def count_bit_by_hand(num_units, factor, num_classes=1000):
  inputs = 64 * factor
  total = 7 * 7 * 3 * inputs
  for block, units in enumerate(num_units):
    inner = 64 * factor * 2**block
    total += inputs * 4 * inner  # The projection.
    for _ in range(units):
      total += inputs * inner + 9 * inner * inner + inner * 4 * inner
      total += 2 * (inputs + inner + inner)  # The norms.
      inputs = 4 * inner
  return total + 2 * inputs + dense(inputs, num_classes)


def count_mixer_by_hand(width, depth, mlp_dim, token_mlp_dim, patch_size):
  patches = (224 // patch_size) ** 2
  tokens = dense(patches, token_mlp_dim) + dense(token_mlp_dim, patches)
  channels = dense(width, mlp_dim) + dense(mlp_dim, width)
  norm = 2 * width
  return (
    dense(3 * patch_size**2, width)
    + depth * (tokens + channels + 2 * norm)
    + norm
    + dense(width, 1000)
  )


def test_no_model_is_missing_from_the_tables():
  assert set(counts.IMAGENET) == set(models.NAMES)
  assert {
    name: numbers[0] for name, numbers in counts.IMAGENET.items()
  } == parameter_counts.IMAGENET


@pytest.mark.parametrize('name', counts.IMAGENET)
def test_counts_at_224_pixels(name):
  assert count(name) == counts.IMAGENET[name][0], counts.__doc__


@pytest.mark.parametrize(
  'name',
  [
    name
    for name, (_, at_384) in counts.IMAGENET.items()
    if at_384 and ('BiT' not in name or name == 'BiT-R50x1')
  ],
)
def test_counts_at_384_pixels(name):
  assert count(name, 384) == counts.IMAGENET[name][1], counts.__doc__


@pytest.mark.parametrize('name', counts.IMAGENET_21K)
def test_counts_with_21843_classes_and_a_tanh_layer(name):
  width = vit.SIZES[re.search(r'ViT-(\w+)/', name)[1]].width
  linear = counts.IMAGENET_21K[name]
  pre_logits = count(name, num_classes=21_843, head='pre_logits')
  assert pre_logits == linear + dense(width, width), counts.__doc__
  mebibytes = 4 * pre_logits / 2**20
  assert mebibytes == pytest.approx(
    counts.IMAGENET_21K_TANH_MIB[name], abs=0.0051
  ), counts.__doc__


@pytest.mark.parametrize('name', counts.AVERAGE)
def test_counts_without_class_token(name):
  assert count(name, pooling='average') == counts.AVERAGE[name], counts.__doc__


def test_every_transformer_is_counted_with_21843_classes():
  giants = {'ViT-g/14', 'ViT-G/14'}  # Never trained on ImageNet-21k.
  assert set(counts.IMAGENET_21K) == {
    name for name in set(models.NAMES) - giants if 'ViT' in name
  }
  assert set(counts.IMAGENET_21K_TANH_MIB) == set(counts.IMAGENET_21K)


@pytest.mark.parametrize(
  'name', [name for name in counts.IMAGENET if name.startswith('ViT')]
)
def test_counts_of_vits_are_those_computed_by_hand(name):
  # Width, depth, hidden units of ViT paper, table 1; DeiT, table 1; Scaling
  # Vision Transformers, table 2.
  sizes = {
    'Ti': (192, 12, 768),
    'S': (384, 12, 1536),
    'B': (768, 12, 3072),
    'L': (1024, 24, 4096),
    'H': (1280, 32, 5120),
    'g': (1408, 40, 6144),
    'G': (1664, 48, 8192),
  }
  size, patch_size = re.fullmatch(r'ViT-(\w+)/(\d+)', name).groups()
  by_hand = count_vit_by_hand(*sizes[size], int(patch_size))
  assert counts.IMAGENET[name][0] == by_hand


@pytest.mark.parametrize(
  'name', [name for name in counts.IMAGENET if name.startswith('Mixer')]
)
def test_counts_of_mixers_are_those_computed_by_hand(name):
  sizes = {  # MLP-Mixer paper, table 1.
    'S': (512, 8, 2048, 256),
    'B': (768, 12, 3072, 384),
    'L': (1024, 24, 4096, 512),
    'H': (1280, 32, 5120, 640),
  }
  size, patch_size = re.fullmatch(r'Mixer-(\w+)/(\d+)', name).groups()
  by_hand = count_mixer_by_hand(*sizes[size], int(patch_size))
  assert counts.IMAGENET[name][0] == by_hand


@pytest.mark.parametrize(
  'name', [name for name in counts.IMAGENET if name.startswith('BiT')]
)
def test_counts_of_resnets_are_those_computed_by_hand(name):
  units = {
    '50': (3, 4, 6, 3),
    '101': (3, 4, 23, 3),
    '152': (3, 8, 36, 3),
    '200': (3, 24, 36, 3),
  }
  depth, factor = re.fullmatch(r'BiT-R(\d+)x(\d+)', name).groups()
  by_hand = count_bit_by_hand(units[depth], int(factor))
  assert counts.IMAGENET[name] == (by_hand, by_hand)


@pytest.mark.parametrize(
  'name, published',  # Millions, in the digits that are commonly listed.
  [
    ('BiT-R50x1', 25.55),
    ('BiT-R101x1', 44.54),
    ('BiT-R50x3', 217.32),
    ('BiT-R152x2', 236.34),
    ('BiT-R101x3', 387.93),
    ('BiT-R152x4', 936.53),
  ],
)
def test_counts_of_resnets_are_those_published(name, published):
  assert round(counts.IMAGENET[name][0] / 1e6, 2) == published
