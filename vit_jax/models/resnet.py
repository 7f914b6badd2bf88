"""BiT ResNets, to which the ViT paper compares (Kolesnikov et al., 2020).

ResNet-v2 (He et al., 2016b) with standardised kernels and GroupNorm. Borders
are padded with zeros on all sides alike, before the pooling too.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.config import model_names
from vit_jax.models import outputs, parameter_shapes
from vit_jax.nn import head, residual_blocks, weight_standardization

# Units in each of the four blocks (He et al., 2016a, table 1, and 2016b).
UNITS = {
  'R8': (1, 1),  # For images of 16 to 32 pixels.
  'R50': (3, 4, 6, 3),
  'R101': (3, 4, 23, 3),
  'R152': (3, 8, 36, 3),
  'R200': (3, 24, 36, 3),
}

NAMES = (
  'BiT-R50x1',
  'BiT-R50x2',
  'BiT-R50x3',
  'BiT-R101x1',
  'BiT-R101x2',
  'BiT-R101x3',
  'BiT-R152x1',
  'BiT-R152x2',
  'BiT-R152x4',
  'BiT-R200x3',
)

# What a ResNet reads of the configuration.
FIELDS = ('name', 'head_bias', 'dtype')


def build(model, num_classes, constrain):
  """Returns the ResNet of a name such as BiT-R50x1, of any widening factor.

  Raises:
    UserError: no such ResNet.
  """
  name = model_names.parse(model.name)
  return ResNet(
    units=errors.choose('The ResNet in model.name', name.size, UNITS),
    width=64 * name.widening,
    num_classes=num_classes,
    head_bias=model.head_bias,
    dtype=jnp.dtype(model.dtype),
    constrain=constrain,
  )


def infer_config(shapes, name, num_heads):
  """Returns (fields, image size), see `Family.infer_config`.

  Raises:
    UserError: no ResNet has such blocks.
  """
  del num_heads
  if name:
    return {'name': name}, None
  units = parameter_shapes.units(shapes, 'block_')
  factor = shapes['root_conv/kernel'][-1] // 64
  for depth, known in UNITS.items():
    if units == known:
      return {'name': f'BiT-{depth}x{factor}'}, None
  raise errors.UserError(f'No BiT has blocks of {units} units; known: {UNITS}.')


class ResNet(nn.Module, kw_only=True):
  """Root, blocks of bottleneck units, norm, average, head."""

  units: tuple[int, ...]
  width: int  # Features of the root and inside the units of the first block.
  num_classes: int  # 0: no head.
  head_bias: float = 0.0
  dtype: jnp.dtype = jnp.float32
  constrain: Callable = lambda x: x  # As of `models.build`.

  @nn.compact
  def __call__(self, images, *, train, layers=()):
    """Classifies images.

    Args:
      images: [batch, height, width, 3], in [-1, 1].
      train: has no effect here; every model is told.
      layers: the blocks, of four, whose feature maps are asked for; see
        `outputs.Output`.

    Returns:
      An `outputs.Output`; its tokens are the last feature map.
    """
    del train
    layers = outputs.resolve(layers, len(self.units))
    x = _conv(self.width, 7, 2, dtype=self.dtype, name='root_conv')(images)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # Zeros compete.
    x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding='VALID')
    after = []
    for block in residual_blocks.stack(
      Unit, self.units, self.width, self.dtype
    ):
      x = self.constrain(block(x))
      after.append(x)
    x = nn.relu(_norm(dtype=self.dtype, name='norm')(x))
    tokens = _as_tokens(x)
    pooled = jnp.mean(tokens, axis=1)
    logits = head.logits(pooled, self.num_classes, self.head_bias)
    after = tuple(_as_tokens(after[layer - 1]) for layer in layers)
    return outputs.Output(tokens, pooled, logits, after)


class Unit(nn.Module, kw_only=True):
  """A bottleneck, normalised before convolutions (He et al., 2016b)."""

  features: int  # Inside; four times as many come out.
  stride: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    """Maps [batch, rows, columns, channels] to 4 * features channels."""
    features = self.features
    conv = functools.partial(_conv, dtype=self.dtype)
    norm = functools.partial(_norm, dtype=self.dtype)
    shortcut = x
    y = nn.relu(norm(name='norm_1')(x))
    if self.stride != 1 or x.shape[-1] != 4 * features:
      shortcut = conv(4 * features, 1, self.stride, name='projection_conv')(y)
    y = conv(features, 1, name='conv_1')(y)
    y = nn.relu(norm(name='norm_2')(y))
    y = conv(features, 3, self.stride, name='conv_2')(y)
    y = nn.relu(norm(name='norm_3')(y))
    return shortcut + conv(4 * features, 1, name='conv_3')(y)


def _as_tokens(x):
  """Maps [batch, rows, columns, width] to [batch, rows * columns, width]."""
  return x.reshape(x.shape[0], -1, x.shape[-1])


def _conv(features, kernel_size, stride=1, *, dtype, name):
  return weight_standardization.StdConv(
    features=features,
    kernel_size=kernel_size,
    stride=stride,
    padding=kernel_size // 2,
    standardize=weight_standardization.divide_by_root_of_variance,
    dtype=dtype,
    name=name,
  )


def _norm(*, dtype, name):
  return nn.GroupNorm(num_groups=32, epsilon=1e-5, dtype=dtype, name=name)
