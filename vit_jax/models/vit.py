"""The Vision Transformer (Dosovitskiy et al., 2021, section 3.1)."""

import dataclasses
import re
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.models import outputs
from vit_jax.nn import (
  attention,
  attention_kernels,
  encoder,
  head,
  layer_stack,
  mlp,
  patches,
)


@dataclasses.dataclass(frozen=True)
class Size:
  """The shape of the Transformer."""

  width: int
  depth: int
  mlp_dim: int
  num_heads: int


SIZES = {
  # DeiT (Touvron et al., 2021) named the first two; ViT paper, table 1.
  'Ti': Size(192, 12, 768, 3),
  'S': Size(384, 12, 1536, 6),
  'B': Size(768, 12, 3072, 12),
  'L': Size(1024, 24, 4096, 16),
  'H': Size(1280, 32, 5120, 16),
  # Scaling Vision Transformers (Zhai et al., 2022), table 2.
  'g': Size(1408, 40, 6144, 16),
  'G': Size(1664, 48, 8192, 16),
  # Getting ViT in Shape (Alabdulmohsin et al., 2023), and SigLIP 2's g-opt.
  'So400m': Size(1152, 27, 4304, 16),
  'gopt': Size(1536, 40, 6144, 16),
}

NAMES = (
  'ViT-Ti/16',
  'ViT-S/16',
  'ViT-S/32',
  'ViT-B/8',
  'ViT-B/16',
  'ViT-B/32',
  'ViT-L/16',
  'ViT-L/32',
  'ViT-H/14',
  'ViT-g/14',
  'ViT-G/14',
)


class ViT(nn.Module, kw_only=True):
  """Stem, class token, encoder, pooling, head; a hybrid has another stem."""

  stem: nn.Module  # Images to patches, [batch, rows, columns, width].
  encoder: nn.Module
  pooling: Callable  # Tokens to [batch, width]; takes train.
  num_classes: int  # 0: no head.
  class_token: bool = True
  head_hidden: bool = False  # A tanh layer before the head (section 3.2).
  head_bias: float = 0.0
  dtype: jnp.dtype = jnp.float32
  constrain: Callable = lambda x: x  # As of `models.build`.

  @nn.compact
  def __call__(self, images, *, train, corrupt=None):
    """Classifies images.

    Args:
      images: [batch, height, width, 3], in [-1, 1].
      train: whether dropout and stochastic depth act.
      corrupt: None, or a function that maps patch embeddings [batch, patches,
        width] to those that the encoder sees instead.

    Returns:
      An `outputs.Output`.
    """
    x = self.stem(images.astype(self.dtype), train=train)  # eq. 1
    batch, rows, columns, width = x.shape
    x = x.reshape(batch, rows * columns, width)  # [batch, patches, width]
    if corrupt is not None:
      x = corrupt(x)
    if self.class_token:
      token = self.param(
        'class_token', nn.initializers.zeros, (1, 1, width), jnp.float32
      )
      token = jnp.tile(token, (batch, 1, 1)).astype(self.dtype)
      x = jnp.concatenate([token, x], axis=1)
    tokens = self.encoder(x, (rows, columns), train=train)
    pooled = self.constrain(self.pooling(tokens, train=train))
    if self.head_hidden:
      pooled = nn.tanh(
        nn.Dense(width, dtype=self.dtype, name='head_hidden')(pooled)
      )
    logits = head.logits(pooled, self.num_classes, self.head_bias)
    return outputs.Output(tokens, pooled, logits)


def first_token(tokens, *, train):
  """Pools tokens [batch, tokens, width] by taking the class token."""
  del train
  return tokens[:, 0]


def average(tokens, *, train):
  """Pools tokens [batch, tokens, width] by their mean."""
  del train
  return jnp.mean(tokens, axis=1)


def attention_pooling(model, size):
  dtype = jnp.dtype(model.dtype)
  layer = mlp.Mlp(mlp_dim=size.mlp_dim, gelu=model.gelu, dtype=dtype)
  return attention.AttentionPooling(
    num_heads=size.num_heads, mlp=layer, dtype=dtype
  )


POOLINGS = {
  'class_token': lambda model, size: first_token,
  'average': lambda model, size: average,
  'attention': attention_pooling,
}

HEADS = {'linear': False, 'pre_logits': True}  # name: has a hidden layer


def build(model, num_classes, constrain):
  """Returns the plain ViT of a name such as ViT-B/16, at any patch size."""
  size_name, patch_size = re.fullmatch(r'ViT-(\w+)/(\d+)', model.name).groups()
  size = resize(model, size_name)
  dtype = jnp.dtype(model.dtype)
  stem = patches.PatchEmbedding(
    patch_size=int(patch_size), width=size.width, dtype=dtype
  )
  return assemble(model, size, stem, num_classes, constrain)


def resize(model, size_name):
  """Returns the named size with what the configuration replaces of it.

  Raises:
    UserError: no such size, or a width that the heads do not divide.
  """
  size = errors.choose('The size in model.name', size_name, SIZES)
  given = {
    field.name: model[field.name]
    for field in dataclasses.fields(Size)
    if model[field.name] is not None
  }
  size = dataclasses.replace(size, **given)
  if size.width % size.num_heads:
    raise errors.UserError(
      f'model.width={size.width} is not a multiple of '
      f'model.num_heads={size.num_heads}; each head gets an equal part.'
    )
  if size.width % 4:
    raise errors.UserError(
      f'model.width={size.width} is not a multiple of 4, which position '
      'embeddings in two dimensions need.'
    )
  return size


def assemble(model, size, stem, num_classes, constrain):
  """Returns a ViT of the given size on the given stem."""
  dtype = jnp.dtype(model.dtype)
  block = encoder.Block(
    num_heads=size.num_heads,
    mlp_dim=size.mlp_dim,
    dropout=model.dropout,
    gelu=model.gelu,
    norm_epsilon=model.norm_epsilon,
    attention=choose_attention(model).name,
    dtype=dtype,
  )
  transformer = encoder.Encoder(
    block=block,
    depth=size.depth,
    position_embedding=model.position_embedding,
    position_placement=model.position_placement,
    dropout=model.dropout,
    drop_path=model.drop_path,
    norm_epsilon=model.norm_epsilon,
    dtype=dtype,
    stack=layer_stack.LayerStack(
      scan=model.scan, remat=model.remat, constrain=constrain
    ),
  )
  return ViT(
    stem=stem,
    encoder=transformer,
    pooling=POOLINGS[model.pooling](model, size),
    num_classes=num_classes,
    class_token=model.pooling == 'class_token',
    head_hidden=HEADS[model.head],
    head_bias=model.head_bias,
    dtype=dtype,
    constrain=constrain,
  )


def choose_attention(model):
  """Returns the `attention_kernels.Choice` for a plain ViT or a hybrid.

  Args:
    model: the configuration's part for the model.

  Raises:
    UserError: as `attention_kernels.choose` and `resize`.
  """
  size = resize(model, re.search(r'ViT-(\w+)/', model.name)[1])
  return attention_kernels.choose(
    model.attention,
    jnp.dtype(model.dtype),
    size.width // size.num_heads,
    model.position_embedding == 'relative',
  )
