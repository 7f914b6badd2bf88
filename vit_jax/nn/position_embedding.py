"""Where a token is: the position embeddings of the ViT paper (appendix D.4).

Every kind maps (tokens [batch, tokens, width], grid) to (tokens, relative
keys): most add a vector to each token and give no keys; `Relative` leaves the
tokens alone. The grid is (rows, columns); tokens beyond rows * columns come
first and are no patches (a class token).
"""

import flax.linen as nn
import jax.numpy as jnp

_init = nn.initializers.normal(stddev=0.02)  # As BERT.


class NoPosition(nn.Module):
  """None: tokens are a bag of patches."""

  @nn.compact
  def __call__(self, tokens, grid):
    del grid
    return tokens, None


class Learned1d(nn.Module):
  """A learned vector per token, in raster order; the paper's default."""

  @nn.compact
  def __call__(self, tokens, grid):
    _check(tokens, grid)
    shape = (1, *tokens.shape[1:])
    embedding = self.param('embedding', _init, shape, jnp.float32)
    return tokens + embedding.astype(tokens.dtype), None


class Learned2d(nn.Module):
  """Half of the vector is learned per column, the other half per row."""

  @nn.compact
  def __call__(self, tokens, grid):
    rows, columns = grid
    half = tokens.shape[-1] // 2
    x = self.param('columns', _init, (columns, half), jnp.float32)
    y = self.param('rows', _init, (rows, half), jnp.float32)
    x = jnp.broadcast_to(x[None], (rows, columns, half))
    y = jnp.broadcast_to(y[:, None], (rows, columns, half))
    return _add_to_patches(tokens, jnp.concatenate([x, y], axis=-1)), None


class SinCos2d(nn.Module):
  """Sines and cosines of column and row, nothing learned (Chen et al., 2021).

  Frequencies fall geometrically from 1 to 1/10,000 over a quarter of the
  width, as in MoCo v3.
  """

  @nn.compact
  def __call__(self, tokens, grid):
    rows, columns = grid
    quarter = tokens.shape[-1] // 4
    frequency = 10_000.0 ** -jnp.linspace(0, 1, quarter)[None, None]
    x = jnp.arange(columns)[None, :, None] * frequency
    y = jnp.arange(rows)[:, None, None] * frequency
    x = jnp.broadcast_to(x, (rows, columns, quarter))
    y = jnp.broadcast_to(y, (rows, columns, quarter))
    parts = [jnp.sin(x), jnp.cos(x), jnp.sin(y), jnp.cos(y)]
    return _add_to_patches(tokens, jnp.concatenate(parts, axis=-1)), None


class Relative(nn.Module):
  """A learned key per offset between two tokens of the sequence."""

  @nn.compact
  def __call__(self, tokens, grid):
    _check(tokens, grid)
    _, num_tokens, width = tokens.shape
    shape = (2 * num_tokens - 1, width)
    return tokens, self.param('keys', _init, shape, jnp.float32)


POSITION_EMBEDDINGS = {
  'none': NoPosition,
  'learned_1d': Learned1d,
  'learned_2d': Learned2d,
  'sincos_2d': SinCos2d,
  'relative': Relative,
}


def _check(tokens, grid):
  assert tokens.shape[1] >= grid[0] * grid[1], (tokens.shape, grid)


def _add_to_patches(tokens, embedding):
  """Adds [rows, columns, width] to the patches, nothing to tokens before."""
  rows, columns, width = embedding.shape
  embedding = embedding.reshape(1, rows * columns, width)
  num_prefix_tokens = tokens.shape[1] - rows * columns
  padding = ((0, 0), (num_prefix_tokens, 0), (0, 0))
  return tokens + jnp.pad(embedding, padding).astype(tokens.dtype)
