"""MLP-Mixer (Tolstikhin et al., 2021): MLPs over patches and over channels."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.config import model_names
from vit_jax.models import outputs, parameter_shapes
from vit_jax.nn import drop_path, encoder, head, layer_stack, mlp, patches


@dataclasses.dataclass(frozen=True)
class Size:
  """The shape of a Mixer."""

  width: int
  depth: int
  mlp_dim: int  # Hidden units that mix the channels of a patch,
  token_mlp_dim: int  # and that mix the patches of a channel.


# MLP-Mixer paper, table 1.
SIZES = {
  'S': Size(512, 8, 2048, 256),
  'B': Size(768, 12, 3072, 384),
  'L': Size(1024, 24, 4096, 512),
  'H': Size(1280, 32, 5120, 640),
}

NAMES = (
  'Mixer-S/8',
  'Mixer-S/16',
  'Mixer-S/32',
  'Mixer-B/16',
  'Mixer-B/32',
  'Mixer-L/16',
  'Mixer-L/32',
  'Mixer-H/14',
)

# What a Mixer reads of the configuration.
FIELDS = (
  *('name', 'width', 'depth', 'mlp_dim', 'head_bias'),
  *('dropout', 'drop_path', 'gelu', 'dtype', 'scan', 'remat'),
)


class Block(nn.Module, kw_only=True):
  """One layer: an MLP along the patches, then one along the channels."""

  mlp_dim: int
  token_mlp_dim: int
  dropout: float = 0.0
  gelu: str = 'tanh'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, drop_rate=None, *, train):
    """Maps tokens [batch, patches, width] to tokens of the same shape.

    Args:
      x: tokens.
      drop_rate: see `drop_path.DropPath`.
      train: whether dropout and stochastic depth act.
    """
    y = self._norm('token_norm')(x)
    y = y.swapaxes(1, 2)  # [batch, width, patches]
    y = self._mlp(self.token_mlp_dim, 'token_mlp')(y, train=train)
    y = y.swapaxes(1, 2)
    x = x + drop_path.DropPath()(y, drop_rate, train=train)
    y = self._norm('channel_norm')(x)
    y = self._mlp(self.mlp_dim, 'channel_mlp')(y, train=train)
    return x + drop_path.DropPath()(y, drop_rate, train=train)

  def _norm(self, name):
    return nn.LayerNorm(encoder.EPSILON, dtype=self.dtype, name=name)

  def _mlp(self, hidden, name):
    return mlp.Mlp(
      mlp_dim=hidden,
      dropout=self.dropout,
      gelu=self.gelu,
      dtype=self.dtype,
      name=name,
    )


class Mixer(nn.Module, kw_only=True):
  """Stem, blocks, norm, average, head; fits one number of patches only."""

  stem: nn.Module  # Images to patches, [batch, rows, columns, width].
  block: nn.Module  # Every layer is a copy of it, with its own parameters.
  depth: int
  num_classes: int  # 0: no head.
  drop_path: float = 0.0  # Of the last block; rises linearly from zero.
  head_bias: float = 0.0
  dtype: jnp.dtype = jnp.float32
  stack: layer_stack.LayerStack = layer_stack.LayerStack()

  @nn.compact
  def __call__(self, images, *, train, layers=()):
    """Classifies images.

    Args:
      images: [batch, height, width, 3], in [-1, 1].
      train: whether dropout and stochastic depth act.
      layers: whose patches are asked for; see `outputs.Output`.

    Returns:
      An `outputs.Output`.
    """
    x = self.stem(images.astype(self.dtype), train=train)
    x = x.reshape(x.shape[0], -1, x.shape[-1])  # [batch, patches, width]
    rates = drop_path.rates(self.drop_path, self.depth)

    def call(block, x, rate):
      return block(x, rate, train=train)

    layers = outputs.resolve(layers, self.depth)
    x, after = self.stack.run(self, self.block.clone, call, x, rates, layers)
    tokens = nn.LayerNorm(encoder.EPSILON, dtype=self.dtype, name='norm')(x)
    pooled = jnp.mean(tokens, axis=1)
    logits = head.logits(pooled, self.num_classes, self.head_bias)
    return outputs.Output(tokens, pooled, logits, after)


def build(model, num_classes, constrain):
  """Returns the Mixer of a name such as Mixer-B/16, at any patch size.

  Raises:
    UserError: no such size.
  """
  name = model_names.parse(model.name)
  size = errors.choose('The size in model.name', name.size, SIZES)
  given = {
    field: model[field]
    for field in ('width', 'depth', 'mlp_dim')
    if model[field] is not None
  }
  size = dataclasses.replace(size, **given)
  dtype = jnp.dtype(model.dtype)
  return Mixer(
    stem=patches.PatchEmbedding(
      patch_size=name.patch_size, width=size.width, dtype=dtype
    ),
    block=Block(
      mlp_dim=size.mlp_dim,
      token_mlp_dim=size.token_mlp_dim,
      dropout=model.dropout,
      gelu=model.gelu,
      dtype=dtype,
    ),
    depth=size.depth,
    num_classes=num_classes,
    drop_path=model.drop_path,
    head_bias=model.head_bias,
    dtype=dtype,
    stack=layer_stack.LayerStack(
      scan=model.scan, remat=model.remat, constrain=constrain
    ),
  )


def measure(shapes):
  """Returns the `Size` of parameters, of {path: shape}."""
  return Size(
    width=shapes['stem/embedding/kernel'][-1],
    depth=parameter_shapes.count(
      shapes, r'block_(\d+)/token_mlp/hidden/kernel'
    ),
    mlp_dim=shapes['block_0/channel_mlp/hidden/kernel'][1],
    token_mlp_dim=shapes['block_0/token_mlp/hidden/kernel'][1],
  )


def infer_config(shapes, name, num_heads):
  """Returns (fields, image size), see `Family.infer_config`.

  Raises:
    UserError: no Mixer has such hidden units.
  """
  del num_heads
  patch_size = shapes['stem/embedding/kernel'][0]
  fields = {'name': name} if name else _infer_size(measure(shapes), patch_size)
  num_patches = shapes['block_0/token_mlp/hidden/kernel'][0]
  return fields, parameter_shapes.image_size(num_patches, patch_size)


def _infer_size(found, patch_size):
  """Returns the name, and the fields in which the model differs from it."""
  for size_name, size in SIZES.items():
    if found.token_mlp_dim == size.token_mlp_dim:
      fields = {'name': f'Mixer-{size_name}/{patch_size}'}
      given = dataclasses.asdict(found)
      del given['token_mlp_dim']
      return fields if found == size else {**fields, **given}
  known = ', '.join(str(size.token_mlp_dim) for size in SIZES.values())
  raise errors.UserError(
    f'No Mixer mixes patches in {found.token_mlp_dim} hidden units; known: '
    f'{known}.'
  )
