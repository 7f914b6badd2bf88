"""Hybrids: a Vision Transformer on the features of a ResNet.

ViT paper, section 3.1 and appendix B.2; AugReg (Steiner et al., 2022) for the
small ones. Weights were released for a ResNet that normalises and activates
after its convolutions and pads as TensorFlow's SAME does: at stride 2, the
odd pixel goes to the right and the bottom.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.config import model_names
from vit_jax.models import parameter_shapes, vit
from vit_jax.nn import residual_blocks, weight_standardization


@dataclasses.dataclass(frozen=True)
class Backbone:
  """What precedes the Transformer."""

  units: tuple[int, ...]  # Bottleneck units in each block.
  patch_size: int  # Of the patches that are cut from the last feature map.


# Halved by the root and its pooling, then by every block but the first. R50
# at 16 pixels per token has the units of a fourth block in its third.
BACKBONES = {
  'R5/4': Backbone((1,), 1),  # For images of 16 to 32 pixels.
  'R/16': Backbone((), 8),  # A token of this one spans 32 pixels.
  'R26/32': Backbone((2, 2, 2, 2), 1),
  'R50/16': Backbone((3, 4, 9), 1),
  'R50/32': Backbone((3, 4, 6, 3), 1),
}

NAMES = (
  'R+ViT-Ti/16',
  'R26+ViT-S/32',
  'R26+ViT-B/32',
  'R50+ViT-B/16',
  'R50+ViT-B/32',
  'R50+ViT-L/16',
  'R50+ViT-L/32',
)


def build(model, num_classes, constrain):
  """Returns the hybrid of a name such as R50+ViT-B/16.

  Raises:
    UserError: no such ResNet at this patch size, or no such Transformer.
  """
  name = model_names.parse(model.name)
  backbone = errors.choose(
    'The ResNet in model.name', f'{name.backbone}/{name.patch}', BACKBONES
  )
  size = vit.size_of(model)
  dtype = jnp.dtype(model.dtype)
  stem = ResNetStem(
    units=backbone.units,
    patch_size=backbone.patch_size,
    width=size.width,
    dtype=dtype,
    constrain=constrain,
  )
  return vit.assemble(model, size, stem, num_classes, constrain)


def infer_config(shapes, name, num_heads):
  """Returns (fields, image size), see `Family.infer_config`.

  Raises:
    UserError: no hybrid has such a ResNet, or nothing tells the heads.
  """
  return vit.infer_on_stem(shapes, name, num_heads, _name_on_resnet, NAMES)


def _name_on_resnet(shapes):
  patch_size = vit.square_patch(shapes)
  units = parameter_shapes.units(shapes, 'stem/block_')
  for name, backbone in BACKBONES.items():
    if backbone == Backbone(units, patch_size):
      resnet, _, patch = name.partition('/')
      return f'{resnet}+ViT-{{}}/{patch}'
  raise errors.UserError(
    f'No hybrid has a ResNet of {units} units and patches of {patch_size}; '
    f'known are {", ".join(BACKBONES)}.'
  )


class ResNetStem(nn.Module, kw_only=True):
  """A ResNet without its head, then a linear map of every patch."""

  units: tuple[int, ...]
  patch_size: int
  width: int
  dtype: jnp.dtype = jnp.float32
  constrain: Callable = lambda x: x  # As of `models.build`.

  @nn.compact
  def __call__(self, images, *, train):
    """Maps images to [batch, rows, columns, width], a vector per patch.

    Args:
      images: [batch, height, width, 3], in [-1, 1].
      train: has no effect here; every stem is told.
    """
    del train
    x = _conv(64, 7, 2, dtype=self.dtype, name='root_conv')(images)
    x = nn.relu(_norm(dtype=self.dtype, name='root_norm')(x))
    x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding='SAME')
    for block in residual_blocks.stack(Unit, self.units, 64, self.dtype):
      x = self.constrain(block(x))
    patch = (self.patch_size, self.patch_size)
    return nn.Conv(
      self.width, patch, patch, 'VALID', dtype=self.dtype, name='embedding'
    )(x)


class Unit(nn.Module, kw_only=True):
  """A bottleneck, normalised after convolutions (He et al., 2016a, fig. 5)."""

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
    if self.stride != 1 or x.shape[-1] != 4 * features:
      shortcut = conv(4 * features, 1, self.stride, name='projection_conv')(x)
      shortcut = norm(name='projection_norm')(shortcut)
    y = conv(features, 1, name='conv_1')(x)
    y = nn.relu(norm(name='norm_1')(y))
    y = conv(features, 3, self.stride, name='conv_2')(y)
    y = nn.relu(norm(name='norm_2')(y))
    y = conv(4 * features, 1, name='conv_3')(y)
    # A fresh unit passes its input on (Goyal et al., 2017, section 5.1).
    y = norm(name='norm_3', scale_init=nn.initializers.zeros)(y)
    return nn.relu(shortcut + y)


def _conv(features, kernel_size, stride=1, *, dtype, name):
  return weight_standardization.StdConv(
    features=features,
    kernel_size=kernel_size,
    stride=stride,
    padding='SAME',
    standardize=weight_standardization.divide_by_deviation,
    dtype=dtype,
    name=name,
  )


def _norm(*, dtype, name, scale_init=nn.initializers.ones):
  return nn.GroupNorm(
    num_groups=32, epsilon=1e-6, dtype=dtype, scale_init=scale_init, name=name
  )
