"""The Transformer encoder (ViT paper, equations 2-4)."""

import flax.linen as nn
import jax.numpy as jnp

from vit_jax.nn import attention, drop_path, mlp, position_embedding

EPSILON = 1e-6  # Of every LayerNorm of Google's models.


class Block(nn.Module):
  """One layer: self-attention, then an MLP, each around a residual."""

  num_heads: int
  mlp_dim: int
  dropout: float = 0.0
  drop_path: float = 0.0
  gelu: str = 'tanh'
  norm_epsilon: float = EPSILON
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, relative_keys=None, *, train):
    """Maps tokens [batch, tokens, width] to tokens of the same shape."""
    y = self._norm('attention_norm')(x)
    y = attention.Attention(self.num_heads, self.dtype, name='attention')(
      y, y, relative_keys
    )
    y = nn.Dropout(self.dropout, deterministic=not train)(y)
    x = x + drop_path.DropPath(self.drop_path)(y, train=train)  # eq. 2
    y = self._norm('mlp_norm')(x)
    y = mlp.Mlp(self.mlp_dim, self.dropout, self.gelu, self.dtype, name='mlp')(
      y, train=train
    )
    return x + drop_path.DropPath(self.drop_path)(y, train=train)  # eq. 3

  def _norm(self, name):
    return nn.LayerNorm(self.norm_epsilon, dtype=self.dtype, name=name)


class Encoder(nn.Module):
  """A stack of blocks that knows where its tokens are."""

  depth: int
  num_heads: int
  mlp_dim: int
  position_embedding: str = 'learned_1d'
  position_placement: str = 'stem'
  dropout: float = 0.0
  drop_path: float = 0.0  # Of the last block; rises linearly from zero.
  gelu: str = 'tanh'
  norm_epsilon: float = EPSILON
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, grid, *, train):
    """Maps tokens [batch, tokens, width] to tokens of the same shape.

    Args:
      x: tokens; the last rows * columns of them are patches.
      grid: (rows, columns) of the patches.
      train: whether dropout and stochastic depth act.
    """
    kind = position_embedding.POSITION_EMBEDDINGS[self.position_embedding]
    relative_keys = None
    if self.position_placement != 'every_layer':
      locate = kind(name='position_embedding')
    if self.position_placement == 'stem':
      x, relative_keys = locate(x, grid)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    for layer in range(self.depth):
      if self.position_placement == 'every_layer':
        locate = kind(name=f'position_embedding_{layer}')
      if self.position_placement != 'stem':
        x, relative_keys = locate(x, grid)
      x = Block(
        self.num_heads,
        self.mlp_dim,
        self.dropout,
        self.drop_path * layer / max(1, self.depth - 1),
        self.gelu,
        self.norm_epsilon,
        self.dtype,
        name=f'block_{layer}',
      )(x, relative_keys, train=train)
    return nn.LayerNorm(self.norm_epsilon, dtype=self.dtype, name='norm')(
      x
    )  # eq. 4
