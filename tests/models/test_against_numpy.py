"""A second implementation, in NumPy from the papers' equations, agrees.

Each way in which implementations are known to differ is then let into the
NumPy side, one at a time, to see that the comparison would notice.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import numpy as np
import pytest

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.models import resnet

# Largest difference of a logit, relative to the largest logit.
TOLERANCE = 2e-5


def gelu_tanh(x):
  return (
    x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2
  )


def gelu_erf(x):
  erf = np.vectorize(math.erf, otypes=[np.float32])
  return x * (1 + erf(x / math.sqrt(2))) / 2


def pad_same(size, kernel, stride):
  """Returns the padding before and after, as TensorFlow's SAME has it."""
  total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
  return total // 2, total - total // 2


def pad_alike(size, kernel, stride):
  del size, stride
  return kernel // 2, kernel // 2


def standardize_hybrid(kernel):
  kernel = kernel - kernel.mean((0, 1, 2))
  return kernel / (np.sqrt((kernel**2).mean((0, 1, 2))) + 1e-5)


def standardize_bit(kernel):
  kernel = kernel - kernel.mean((0, 1, 2))
  return kernel / np.sqrt((kernel**2).mean((0, 1, 2)) + 1e-10)


@dataclasses.dataclass(frozen=True)
class Numerics:
  """In what implementations differ; by default, as the hybrids' are."""

  layer_norm_eps: float = 1e-6
  gelu: Callable = gelu_tanh
  attention_scale: Callable = lambda head_dim: head_dim**-0.5
  pad: Callable = pad_same
  pool_padding: float = -np.inf
  standardize: Callable = standardize_hybrid
  num_groups: int = 32
  group_norm_eps: float = 1e-6


BIT = Numerics(
  pad=pad_alike,
  pool_padding=0.0,
  standardize=standardize_bit,
  group_norm_eps=1e-5,
)


class Forward:
  """The forward pass of parameters given by path; in float32."""

  def __init__(self, params, numerics):
    self.params = params
    self.numerics = numerics

  def dense(self, x, path):
    kernel = self.params[f'{path}/kernel']
    return x @ kernel.reshape(x.shape[-1], -1) + self.params[
      f'{path}/bias'
    ].reshape(-1)

  def affine(self, x, path):
    return x * self.params[f'{path}/scale'] + self.params[f'{path}/bias']

  def layer_norm(self, x, path):
    x = x - x.mean(-1, keepdims=True)
    variance = (x**2).mean(-1, keepdims=True)
    x = x / np.sqrt(variance + self.numerics.layer_norm_eps)
    return self.affine(x, path)

  def attention(self, z, path):
    """ViT paper, equations 5 to 8, a head after the other."""
    num_heads = self.params[f'{path}/query/bias'].shape[0]
    q, k, v = (
      np.split(self.dense(z, f'{path}/{name}'), num_heads, axis=-1)
      for name in ('query', 'key', 'value')
    )
    scale = self.numerics.attention_scale(q[0].shape[-1])
    heads = []
    for q_i, k_i, v_i in zip(q, k, v):
      a = np.exp(q_i @ k_i.swapaxes(-1, -2) * scale)
      heads.append(a / a.sum(-1, keepdims=True) @ v_i)
    kernel = self.params[f'{path}/out/kernel'].reshape(z.shape[-1], -1)
    return np.concatenate(heads, -1) @ kernel + self.params[f'{path}/out/bias']

  def vit(self, images):
    """ViT paper, equations 1 to 4, and the head."""
    x = self.stem(images)
    batch, rows, columns, width = x.shape
    x = x.reshape(batch, rows * columns, width)
    token = np.broadcast_to(self.params['class_token'], (batch, 1, width))
    z = np.concatenate([token, x], axis=1)
    z = z + self.params['encoder/position_embedding/embedding']
    layer = 0
    while f'encoder/block_{layer}/mlp/hidden/kernel' in self.params:
      path = f'encoder/block_{layer}'
      y = self.layer_norm(z, f'{path}/attention_norm')
      z = self.attention(y, f'{path}/attention') + z
      y = self.layer_norm(z, f'{path}/mlp_norm')
      y = self.numerics.gelu(self.dense(y, f'{path}/mlp/hidden'))
      z = self.dense(y, f'{path}/mlp/out') + z
      layer += 1
    return self.dense(self.layer_norm(z[:, 0], 'encoder/norm'), 'head')

  def stem(self, images):
    if 'stem/root_conv/kernel' in self.params:
      x = self.conv(images, 'stem/root_conv', 2)
      x = np.maximum(self.group_norm(x, 'stem/root_norm'), 0)
      images = self.blocks(self.max_pool(x), 'stem/', self.post_unit)
    kernel = self.params['stem/embedding/kernel']
    patches = windows(images, kernel.shape[0], kernel.shape[0])
    x = np.einsum('brcijk,ijkw->brcw', patches, kernel, optimize=True)
    return x + self.params['stem/embedding/bias']

  def bit(self, images):
    x = self.max_pool(self.conv(images, 'root_conv', 2))
    x = self.blocks(x, '', self.pre_unit)
    x = np.maximum(self.group_norm(x, 'norm'), 0)
    return self.dense(x.mean((1, 2)), 'head')

  def blocks(self, x, prefix, apply):
    for block in range(1, 5):
      unit = 1
      while f'{prefix}block_{block}/unit_{unit}/conv_1/kernel' in self.params:
        stride = 2 if block > 1 and unit == 1 else 1
        x = apply(x, f'{prefix}block_{block}/unit_{unit}', stride)
        unit += 1
    return x

  def post_unit(self, x, path, stride):
    y = x
    for index in 1, 2, 3:
      y = self.conv(y, f'{path}/conv_{index}', stride if index == 2 else 1)
      y = self.group_norm(y, f'{path}/norm_{index}')
      y = np.maximum(y, 0) if index < 3 else y
    if f'{path}/projection_conv/kernel' in self.params:
      x = self.conv(x, f'{path}/projection_conv', stride)
      x = self.group_norm(x, f'{path}/projection_norm')
    return np.maximum(x + y, 0)

  def pre_unit(self, x, path, stride):
    y = x
    for index in 1, 2, 3:
      y = np.maximum(self.group_norm(y, f'{path}/norm_{index}'), 0)
      if index == 1 and f'{path}/projection_conv/kernel' in self.params:
        x = self.conv(y, f'{path}/projection_conv', stride)
      y = self.conv(y, f'{path}/conv_{index}', stride if index == 2 else 1)
    return x + y

  def conv(self, x, path, stride):
    kernel = self.numerics.standardize(self.params[f'{path}/kernel'])
    side, _, _, features = kernel.shape
    patches = windows(self.pad(x, side, stride, 0.0), side, stride)
    return patches.reshape(*patches.shape[:3], -1) @ kernel.reshape(
      -1, features
    )

  def max_pool(self, x):
    padded = self.pad(x, 3, 2, self.numerics.pool_padding)
    return windows(padded, 3, 2).max((3, 4))

  def pad(self, x, kernel, stride, value):
    rows, columns = (
      self.numerics.pad(size, kernel, stride) for size in x.shape[1:3]
    )
    return np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)

  def group_norm(self, x, path):
    groups = x.reshape(
      len(x),
      -1,
      self.numerics.num_groups,
      x.shape[-1] // self.numerics.num_groups,
    )
    groups = groups - groups.mean((1, 3), keepdims=True)
    variance = (groups**2).mean((1, 3), keepdims=True)
    groups = groups / np.sqrt(variance + self.numerics.group_norm_eps)
    return self.affine(groups.reshape(x.shape), path)


def windows(x, side, stride):
  """Returns [batch, rows, columns, side, side, channels]."""
  views = np.lib.stride_tricks.sliding_window_view(x, (side, side), (1, 2))
  return views[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def build(name, num_classes=10, **fields):
  model = schema.default().model
  model.update(name=name, **fields)
  return models.build(model, num_classes)


def draw(module, images, *, small):
  """Returns {path: array}: random everywhere, also where training starts at 0.

  Args:
    module: the model.
    images: what it will see.
    small: whether kernels before a norm are small and uneven, so that every
      epsilon makes a difference.
  """
  rng = np.random.default_rng(1)
  init = functools.partial(module.init, train=False)
  shapes = jax.eval_shape(init, jax.random.key(0), images)['params']
  params = {}
  for path, leaf in pytrees.flatten(shapes).items():
    x = rng.standard_normal(leaf.shape, dtype=np.float32)
    *_, layer, name = ('', *path.split('/'))
    if name == 'scale':
      x = 1 + 0.1 * x
    elif name == 'kernel':
      projects = layer in ('query', 'key', 'value')
      inputs = leaf.shape[0] if projects else math.prod(leaf.shape[:-1])
      x = x / np.sqrt(inputs)
    else:
      x = 0.1 * x
    if small and 'conv' in layer:
      x *= np.float32(10) ** rng.uniform(-4, -2, leaf.shape[-1:])
    if small and ('stem/embedding' in path or name in ('embedding', 'token')):
      x = 0.01 * x
    params[path] = x.astype(np.float32)
  return params


@functools.cache
def case(name):
  """Returns images, parameters and the logits that our model gives."""
  tiny = {'width': 64, 'depth': 2, 'num_heads': 4, 'mlp_dim': 128}
  module, shape, small = {
    'ViT-B/16': lambda: (build('ViT-B/16'), (1, 224, 224, 3), False),
    'R26+ViT-S/32': lambda: (build('R26+ViT-S/32'), (1, 224, 224, 3), False),
    'tiny ViT': lambda: (build('ViT-Ti/16', **tiny), (2, 32, 48, 3), True),
    'tiny hybrid': lambda: (
      build('R26+ViT-S/32', **tiny),
      (2, 64, 96, 3),
      True,
    ),
    'tiny BiT': lambda: (
      resnet.ResNet(units=(2, 1), width=64, num_classes=10),
      (2, 32, 48, 3),
      True,
    ),
  }[name]()
  images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
  if small:
    images *= 1e-3  # GroupNorm's epsilon after the root makes a difference.
  params = draw(module, images, small=small)
  apply = jax.jit(functools.partial(module.apply, train=False))
  with jax.default_matmul_precision('highest'):
    output = apply({'params': pytrees.unflatten(params)}, images)
  return images, params, output.logits


def difference(name, numerics=None):
  """Returns the largest difference, relative to the largest logit."""
  images, params, ours = case(name)
  forward = Forward(params, numerics or DEFAULTS.get(name, Numerics()))
  theirs = (forward.bit if 'BiT' in name else forward.vit)(images)
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


DEFAULTS = {'tiny BiT': BIT}
NAMES = ('ViT-B/16', 'R26+ViT-S/32', 'tiny ViT', 'tiny hybrid', 'tiny BiT')


@pytest.mark.parametrize('name', NAMES)
def test_logits_are_those_of_the_papers_equations(name):
  assert difference(name) < TOLERANCE


CAUSES = {
  'layer norm eps of BERT': ('tiny ViT', {'layer_norm_eps': 1e-12}),
  'layer norm eps 1e-5': ('tiny ViT', {'layer_norm_eps': 1e-5}),
  'layer norm eps 1e-3': ('tiny ViT', {'layer_norm_eps': 1e-3}),
  'gelu by erf': ('tiny ViT', {'gelu': gelu_erf}),
  'attention not scaled': ('tiny ViT', {'attention_scale': lambda _: 1}),
  'attention over d': ('tiny ViT', {'attention_scale': lambda d: 1 / d}),
  'padding alike': ('tiny hybrid', {'pad': pad_alike}),
  'no standardisation': ('tiny hybrid', {'standardize': lambda x: x}),
  'standardisation eps of BiT': (
    'tiny hybrid',
    {'standardize': standardize_bit},
  ),
  'group norm eps 1e-5': ('tiny hybrid', {'group_norm_eps': 1e-5}),
  '16 groups': ('tiny hybrid', {'num_groups': 16}),
  'BiT padding as TF': ('tiny BiT', {'pad': pad_same}),
  'BiT pooling without zeros': ('tiny BiT', {'pool_padding': -np.inf}),
  'BiT no standardisation': ('tiny BiT', {'standardize': lambda x: x}),
  'BiT standardisation eps of hybrids': (
    'tiny BiT',
    {'standardize': standardize_hybrid},
  ),
  'BiT group norm eps 1e-6': ('tiny BiT', {'group_norm_eps': 1e-6}),
  'BiT 16 groups': ('tiny BiT', {'num_groups': 16}),
}


@pytest.mark.parametrize('cause', CAUSES)
def test_other_numerics_are_noticed(cause):
  name, changes = CAUSES[cause]
  numerics = dataclasses.replace(DEFAULTS.get(name, Numerics()), **changes)
  assert difference(name, numerics) > 5 * TOLERANCE
