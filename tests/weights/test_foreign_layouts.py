"""Translated weights compute what they computed in the layout they came in.

Small models are written down a second time: in NumPy by the rules of PyTorch,
and in plain Flax, which numbers its modules as the released files do.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from vit_jax import pytrees
from vit_jax.weights import mapping
from vit_jax.weights.tables import bit, mixer, vit

TIMM_OF_HUGGINGFACE = (
  ('vit.embeddings.patch_embeddings.projection', 'patch_embed.proj'),
  ('vit.embeddings.position_embeddings', 'pos_embed'),
  ('vit.embeddings.cls_token', 'cls_token'),
  ('vit.encoder.layer.', 'blocks.'),
  ('layernorm_before', 'norm1'),
  ('layernorm_after', 'norm2'),
  ('attention.attention.query', 'attn.q'),
  ('attention.attention.key', 'attn.k'),
  ('attention.attention.value', 'attn.v'),
  ('attention.output.dense', 'attn.proj'),
  ('intermediate.dense', 'mlp.fc1'),
  ('output.dense', 'mlp.fc2'),
  ('vit.layernorm', 'norm'),
  ('classifier', 'head'),
)


def linear(flat, name, x):
  return x @ flat[f'{name}.weight'].T + flat[f'{name}.bias']


def layer_norm(flat, name, x):
  x = x - x.mean(-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
  return x * flat[f'{name}.weight'] + flat[f'{name}.bias']


def attend(flat, name, x, num_heads):
  batch, tokens, width = x.shape
  qkv = linear(flat, f'{name}.qkv', x)
  qkv = qkv.reshape(batch, tokens, 3, num_heads, width // num_heads)
  q, k, v = qkv.transpose(2, 0, 3, 1, 4)
  logits = q @ k.swapaxes(-1, -2) / np.sqrt(width // num_heads)
  x = scipy.special.softmax(logits, axis=-1) @ v
  x = x.swapaxes(1, 2).reshape(batch, tokens, width)
  return linear(flat, f'{name}.proj', x)


def vit_by_rules_of_torch(flat, images, depth, num_heads):
  """Returns the logits of a ViT whose weights have timm's names."""
  flat = {name: np.asarray(array, np.float64) for name, array in flat.items()}
  kernel = flat['patch_embed.proj.weight']  # [out, in, rows, columns]
  patch = kernel.shape[-1]
  batch, height, width, _ = images.shape
  x = images.reshape(batch, height // patch, patch, width // patch, patch, 3)
  x = np.einsum('brpcqi,oipq->brco', x, kernel) + flat['patch_embed.proj.bias']
  x = x.reshape(batch, -1, x.shape[-1])
  token = np.tile(flat['cls_token'], (batch, 1, 1))
  x = np.concatenate([token, x], axis=1) + flat['pos_embed']
  for layer in range(depth):
    name = f'blocks.{layer}'
    y = layer_norm(flat, f'{name}.norm1', x)
    x = x + attend(flat, f'{name}.attn', y, num_heads)
    y = linear(flat, f'{name}.mlp.fc1', layer_norm(flat, f'{name}.norm2', x))
    y = y * 0.5 * (1 + scipy.special.erf(y / np.sqrt(2)))
    x = x + linear(flat, f'{name}.mlp.fc2', y)
  return linear(flat, 'head', layer_norm(flat, 'norm', x)[:, 0])


class FlaxMlp(nn.Module):
  hidden: int

  @nn.compact
  def __call__(self, x):
    hidden = nn.gelu(nn.Dense(self.hidden)(x))
    return nn.Dense(x.shape[-1])(hidden)


class MixerBlock(nn.Module):
  @nn.compact
  def __call__(self, x):
    y = nn.LayerNorm()(x).swapaxes(1, 2)
    x += FlaxMlp(256, name='token_mixing')(y).swapaxes(1, 2)
    return x + FlaxMlp(12, name='channel_mixing')(nn.LayerNorm()(x))


class FlaxMixer(nn.Module):
  @nn.compact
  def __call__(self, images):
    x = nn.Conv(8, (16, 16), (16, 16), name='stem')(images)
    x = x.reshape(x.shape[0], -1, 8)
    for _ in range(2):
      x = MixerBlock()(x)
    x = nn.LayerNorm(name='pre_head_layer_norm')(x).mean(axis=1)
    return nn.Dense(5, name='head')(x)


class MlpBlock(FlaxMlp):
  pass


class EncoderBlock(nn.Module):
  @nn.compact
  def __call__(self, x):
    y = nn.LayerNorm()(x)
    x = x + nn.MultiHeadDotProductAttention(2)(y, y)
    return x + MlpBlock(12)(nn.LayerNorm()(x))


class Transformer(nn.Module):
  @nn.compact
  def __call__(self, x):
    for layer in range(2):
      x = EncoderBlock(name=f'encoderblock_{layer}')(x)
    return nn.LayerNorm(name='encoder_norm')(x)


class MAPHead(nn.Module):
  @nn.compact
  def __call__(self, x):
    probe = self.param('probe', nn.initializers.zeros, (1, 1, 8))
    probe = jnp.tile(probe, (x.shape[0], 1, 1))
    x = nn.MultiHeadDotProductAttention(2)(probe, x)
    return (x + MlpBlock(12)(nn.LayerNorm()(x)))[:, 0]


class FlaxViT(nn.Module):
  @nn.compact
  def __call__(self, images):
    x = nn.Conv(8, (16, 16), (16, 16), name='embedding')(images)
    x = x.reshape(x.shape[0], -1, 8)
    x += self.param('pos_embedding', nn.initializers.zeros, (1, x.shape[1], 8))
    x = MAPHead()(Transformer(name='Transformer')(x))
    return nn.Dense(5, name='head')(x)


def assert_close(logits, wanted):
  assert np.abs(wanted).max() > 0.1
  np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)


def test_timm_weights_compute_what_they_do_in_torch(zoo, weights):
  model = zoo.small(gelu='erf')
  params = zoo.params(model, 32, 48)
  images = weights.images(2, 32, 48)
  theirs = mapping.to_theirs(params, vit.timm_rows())
  wanted = vit_by_rules_of_torch(theirs, images, depth=2, num_heads=2)
  assert_close(zoo.logits(model, params, images), wanted)


def test_hugging_face_has_the_arrays_of_timm(zoo):
  params = zoo.params(zoo.small(), 32)
  renamed = {}
  for name, array in mapping.to_theirs(params, vit.huggingface_rows()).items():
    for theirs, timms in TIMM_OF_HUGGINGFACE:
      name = name.replace(theirs, timms)
    renamed[name] = array
  wanted = mapping.to_theirs(params, vit.timm_rows())
  for name in [name for name in wanted if '.qkv.' in name]:
    parts = [renamed.pop(name.replace('qkv', part)) for part in 'qkv']
    renamed[name] = np.concatenate(parts)
  assert renamed.keys() == wanted.keys()
  for name in wanted:
    np.testing.assert_array_equal(renamed[name], wanted[name], err_msg=name)


@pytest.mark.parametrize(
  ('flax_model', 'rows', 'name', 'fields'),
  [
    (FlaxMixer(), mixer.rows(), 'Mixer-S/16', {'num_heads': None}),
    (
      FlaxViT(),
      vit.big_vision_rows(class_token=False),
      'ViT-B/16',
      {'pooling': 'attention'},
    ),
  ],
)
def test_weights_compute_what_they_do_in_plain_flax(
  flax_model, rows, name, fields, zoo, weights
):
  model = zoo.small(name=name, **fields)
  params = zoo.params(model, 32)
  images = weights.images(2, 32, 32)
  theirs = pytrees.unflatten(mapping.to_theirs(params, rows))
  wanted = jax.jit(flax_model.apply)({'params': theirs}, images)
  assert_close(zoo.logits(model, params, images), wanted)


def test_bit_has_the_arrays_of_timm(zoo):
  """timm counts from zero, and names what BiT tells by letters."""
  params = zoo.params(zoo.build('BiT-R50x1'), 32)
  theirs = mapping.to_theirs(params, bit.rows())
  timms = mapping.to_theirs(params, bit.timm_rows())
  assert len(theirs) == len(timms)
  unit, block = 'resnet/block3/unit06', 'stages.2.blocks.5'
  for released, name in (
    (f'{unit}/b/standardized_conv2d/kernel', f'{block}.conv2.weight'),
    (f'{unit}/b/group_norm/gamma', f'{block}.norm2.weight'),
    (f'{unit}/c/group_norm/beta', f'{block}.norm3.bias'),
    ('resnet/head/conv2d/kernel', 'head.fc.weight'),
    (
      'resnet/block2/unit01/a/proj/standardized_conv2d/kernel',
      'stages.1.blocks.0.downsample.conv.weight',
    ),
  ):
    array = theirs[released]
    if array.ndim == 4:
      array = array.transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(array, timms[name], err_msg=released)
