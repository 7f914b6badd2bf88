"""Position embeddings of a file, on the grid and behind the tokens of a model.

Learned embeddings (ViT paper, section 3.1) have a row per token: first those
of the class token and the like, then the patches in raster order.
"""

import math

import numpy as np

from vit_jax import errors
from vit_jax.weights import resizing

PATH = 'encoder/position_embedding/embedding'

_PREFIX_TOKENS = ('class_token', 'distillation_token')


def num_prefix_tokens(flat):
  """Returns how many tokens precede the patches, by the paths there are."""
  return sum(token in flat for token in _PREFIX_TOKENS)


def find_grids(given, wanted, given_grid, grid):
  """Returns ((rows, columns) in the file, in the model), None if unchanged.

  Args:
    given: {path: shape} of the weights.
    wanted: {path: shape} of the model.
    given_grid: the grid of the weights; None: a square, as in every released
      file, none of which tells.
    grid: the grid of the model; None: that of the weights.

  Raises:
    UserError: a grid is not of as many patches as there are embeddings.
  """
  shape, new_shape = given[PATH], wanted[PATH]
  num_patches = shape[1] - num_prefix_tokens(given)
  new_num_patches = new_shape[1] - num_prefix_tokens(wanted)
  if shape == new_shape and num_patches == new_num_patches and grid is None:
    return None
  side = math.isqrt(max(0, num_patches))
  given_grid = _check('given_grid', given_grid or (side, side), num_patches)
  if grid is None and num_patches != new_num_patches:
    raise errors.UserError(
      f'The file has position embeddings for {num_patches} patches, the model '
      f'for {new_num_patches}; give the grid=(rows, columns) of the model.'
    )
  grid = _check('grid', grid or given_grid, new_num_patches)
  if given_grid == grid and shape == new_shape:
    return None
  return given_grid, grid


def fit(embedding, num_prefix, new_num_prefix, grids, method):
  """Returns embeddings [1, new tokens, width] for another grid or prefix.

  Args:
    embedding: [1, tokens, width].
    num_prefix: how many of its rows are no patches.
    new_num_prefix: how many shall be; the last are dropped, or added as
      zeros: tokens at no position.
    grids: as of `find_grids`.
    method: one of `resizing.METHODS`.
  """
  embedding = np.asarray(embedding, np.float32)
  prefix, patches = embedding[:, :num_prefix], embedding[:, num_prefix:]
  num_added = max(0, new_num_prefix - num_prefix)
  prefix = np.pad(prefix, ((0, 0), (0, num_added), (0, 0)))
  grid, new_grid = grids
  if grid != new_grid:
    patches = resizing.resize_grid(patches, grid, new_grid, method)
  return np.concatenate([prefix[:, :new_num_prefix], patches], axis=1)


def _check(field, grid, num_patches):
  rows, columns = grid
  if rows * columns != num_patches:
    raise errors.UserError(
      f'There are position embeddings for {num_patches} patches, which are no '
      f'grid of {rows} x {columns}; give {field}=(rows, columns).'
    )
  return rows, columns
