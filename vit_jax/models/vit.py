"""The Vision Transformer (Dosovitskiy et al., 2021, section 3.1)."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.config import model_names
from vit_jax.models import outputs, parameter_shapes
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

# What a ViT reads of the configuration.
FIELDS = (
  *('name', 'width', 'depth', 'num_heads', 'mlp_dim'),
  *('pooling', 'head', 'head_bias'),
  *('position_embedding', 'position_placement'),
  *('dropout', 'drop_path', 'gelu', 'norm_epsilon'),
  *('dtype', 'attention', 'scan', 'remat'),
)

_STEM = 'stem/embedding/kernel'
_POSITIONS = 'encoder/position_embedding/embedding'
# Paths of parameters that every ViT has.
SIGNS = (_STEM, 'encoder/block_0/mlp/hidden/kernel')


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
  def __call__(self, images, *, train, corrupt=None, layers=()):
    """Classifies images.

    Args:
      images: [batch, height, width, 3], in [-1, 1].
      train: whether dropout and stochastic depth act.
      corrupt: None, or a function that maps patch embeddings [batch, patches,
        width] to those that the encoder sees instead.
      layers: of the encoder, whose tokens are asked for; see
        `outputs.Output`.

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
    tokens, after = self.encoder(
      x,
      (rows, columns),
      train=train,
      layers=outputs.resolve(layers, self.encoder.depth),
    )
    pooled = self.constrain(self.pooling(tokens, train=train))
    if self.head_hidden:
      pooled = nn.tanh(
        nn.Dense(width, dtype=self.dtype, name='head_hidden')(pooled)
      )
    logits = head.logits(pooled, self.num_classes, self.head_bias)
    return outputs.Output(tokens, pooled, logits, after)


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
  size = size_of(model)
  dtype = jnp.dtype(model.dtype)
  stem = patches.PatchEmbedding(
    patch_size=model_names.patch_size(model.name),
    width=size.width,
    dtype=dtype,
  )
  return assemble(model, size, stem, num_classes, constrain)


def size_of(model):
  """Returns the named size with what the configuration replaces of it.

  Raises:
    UserError: no such size, or a width that the heads do not divide.
  """
  size_name = model_names.parse(model.name).size
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
    attention=model.attention,
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


def choose_attention(model, platform):
  """Returns the `attention_kernels.Choice` for a plain ViT or a hybrid.

  Args:
    model: the configuration's part for the model.
    platform: see `attention_kernels.choose`.

  Raises:
    UserError: as `attention_kernels.choose` and `size_of`.
  """
  size = size_of(model)
  return attention_kernels.choose(
    model.attention,
    jnp.dtype(model.dtype),
    size.width // size.num_heads,
    model.position_embedding == 'relative',
    platform,
  )


def measure(shapes, num_heads=None):
  """Returns the `Size` of parameters.

  Args:
    shapes: {path: shape}.
    num_heads: to be used where projections to heads are flat, which tell
      nothing of it.
  """
  query = shapes['encoder/block_0/attention/query/kernel']
  return Size(
    width=shapes[_STEM][-1],
    depth=parameter_shapes.count(
      shapes, r'encoder/block_(\d+)/mlp/hidden/kernel'
    ),
    mlp_dim=shapes['encoder/block_0/mlp/hidden/kernel'][1],
    num_heads=query[1] if len(query) == 3 else num_heads,
  )


def infer_config(shapes, name, num_heads):
  """Returns (fields, image size), see `Family.infer_config`.

  Raises:
    UserError: the patches are no squares, or nothing tells the heads.
  """
  return infer_on_stem(shapes, name, num_heads, _name_on_patches)


def infer_on_stem(shapes, name, num_heads, name_on_stem, known=()):
  """Returns (fields, image size) of a ViT on any stem.

  Args:
    shapes, name, num_heads: see `Family.infer_config`.
    name_on_stem: (shapes) -> the name, with {} for that of the size.
    known: names to be preferred where the size has none.
  """
  if name:
    fields = {'name': name}
  else:
    fields = _infer_size(
      measure(shapes, num_heads), name_on_stem(shapes).format, known
    )
  if 'class_token' in shapes:
    fields['pooling'] = 'class_token'
  else:
    mapped = 'pooling/probe' in shapes
    fields['pooling'] = 'attention' if mapped else 'average'
  if 'head_hidden/kernel' in shapes:
    fields['head'] = 'pre_logits'
  if _POSITIONS not in shapes:
    return {**fields, 'position_embedding': 'sincos_2d'}, None
  num_patches = shapes[_POSITIONS][1] - ('class_token' in shapes)
  patch_size = model_names.patch_size(fields['name'])
  return fields, parameter_shapes.image_size(num_patches, patch_size)


def square_patch(shapes):
  """Returns the side of the patches that the stem embeds.

  Raises:
    UserError: they are no squares.
  """
  rows, columns = shapes[_STEM][:2]
  if rows != columns:
    raise errors.UserError(
      f'Patches are squares here; those of the file have {rows} x {columns} '
      'pixels.'
    )
  return rows


def _name_on_patches(shapes):
  return f'ViT-{{}}/{square_patch(shapes)}'


def _infer_size(found, name_of, known):
  """Returns the name, and the fields in which the model differs from it."""
  for size_name, size in SIZES.items():
    heads = found.num_heads or size.num_heads
    if dataclasses.replace(found, num_heads=heads) == size:
      return {'name': name_of(size_name)}
  if found.num_heads is None:
    raise errors.UserError(
      f'No model of width {found.width}, {found.depth} layers and '
      f'{found.mlp_dim} hidden units is known, and the file does not tell the '
      'number of heads. A config.json beside it would; so would the name of '
      'the model.'
    )
  # Any size will do, since the fields tell; one that is known, if there is.
  sizes = [name for name in SIZES if name_of(name) in known]
  like = name_of(sizes[0] if sizes else 'B')
  return {'name': like, **dataclasses.asdict(found)}
