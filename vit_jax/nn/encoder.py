"""The Transformer encoder (ViT paper, equations 2-4)."""

import flax.linen as nn
import jax.numpy as jnp

from vit_jax.nn import (
  attention,
  drop_path,
  layer_stack,
  mlp,
  position_embedding,
)

POSITION_PLACEMENTS = ('stem', 'every_layer', 'shared')
EPSILON = 1e-6  # Of every LayerNorm of Google's models.


class Block(nn.Module, kw_only=True):
  """One layer: self-attention, then an MLP, each around a residual."""

  num_heads: int
  mlp_dim: int
  dropout: float = 0.0
  gelu: str = 'tanh'
  norm_epsilon: float = EPSILON
  attention: str = 'xla'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, relative_keys=None, drop_rate=None, *, train):
    """Maps tokens [batch, tokens, width] to tokens of the same shape.

    Args:
      x: tokens.
      relative_keys: see `attention.Attention`.
      drop_rate: see `drop_path.DropPath`.
      train: whether dropout and stochastic depth are active.
    """
    y = self._norm('attention_norm')(x)
    y = attention.Attention(
      num_heads=self.num_heads,
      dtype=self.dtype,
      implementation=self.attention,
      name='attention',
    )(y, y, relative_keys)
    y = nn.Dropout(self.dropout, deterministic=not train)(y)
    x = x + drop_path.DropPath()(y, drop_rate, train=train)  # eq. 2
    y = self._norm('mlp_norm')(x)
    y = mlp.Mlp(
      mlp_dim=self.mlp_dim,
      dropout=self.dropout,
      gelu=self.gelu,
      dtype=self.dtype,
      name='mlp',
    )(y, train=train)
    return x + drop_path.DropPath()(y, drop_rate, train=train)  # eq. 3

  def _norm(self, name):
    return nn.LayerNorm(self.norm_epsilon, dtype=self.dtype, name=name)


class Encoder(nn.Module, kw_only=True):
  """A stack of blocks, with position embeddings."""

  block: nn.Module  # Every layer is a copy of it, with its own parameters.
  depth: int
  position_embedding: str = 'learned_1d'
  position_placement: str = 'stem'
  dropout: float = 0.0  # After the first position embeddings.
  drop_path: float = 0.0  # Of the last block; rises linearly from zero.
  norm_epsilon: float = EPSILON  # Of the norm after the last block.
  dtype: jnp.dtype = jnp.float32
  stack: layer_stack.LayerStack = layer_stack.LayerStack()

  @nn.compact
  def __call__(self, x, grid, *, train, layers=None):
    """Maps tokens [batch, tokens, width] to tokens of the same shape.

    Args:
      x: tokens; the last rows * columns of them are patches.
      grid: (rows, columns) of the patches.
      train: whether dropout and stochastic depth are active.
      layers: those whose outputs are asked for as well, counted from 1, or
        None.

    Returns:
      The tokens after the last norm. With `layers`, a pair of them and a tuple
      of the tokens after each of these layers, before any norm.
    """
    x, positions = self._locate(x, grid)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    rates = drop_path.rates(self.drop_path, self.depth)

    def call(block, x, own):
      (embedding, relative_keys), rate = own
      if embedding is not None:
        x = x + embedding
      return block(x, relative_keys, rate, train=train)

    each = list(zip(positions, rates))
    x, after = self.stack.run(
      self, self.block.clone, call, x, each, layers or ()
    )
    norm = nn.LayerNorm(self.norm_epsilon, dtype=self.dtype, name='norm')
    tokens = norm(x)  # eq. 4
    return tokens if layers is None else (tokens, after)

  def _locate(self, x, grid):
    """Returns tokens with a first embedding, and the positions of each layer.

    The latter are, for each layer, the embedding that it adds to its input and
    its relative keys, or None.
    """
    kind = position_embedding.POSITION_EMBEDDINGS[self.position_embedding]
    if self.position_placement == 'stem':
      x, _ = kind(name='position_embedding')(x, grid)
      return x, [(None, None)] * self.depth
    blank = jnp.zeros_like(x[:1])  # The same for all images of a batch.
    if self.position_placement == 'shared':
      positions = [kind(name='position_embedding')(blank, grid)] * self.depth
    else:
      positions = [
        kind(name=f'position_embedding_{layer}')(blank, grid)
        for layer in range(self.depth)
      ]
    first, relative_keys = positions[0]
    return x + first, [(blank, relative_keys), *positions[1:]]
