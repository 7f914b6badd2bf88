"""Position embeddings for another grid, patch kernels for another patch size.

Both resize along rows and columns in turn, by a matrix [new, old] each. Learned
embeddings (ViT paper, section 3.1) have a row per token: first those of the
class token and the like, then the patches in raster order.
"""

import math

import numpy as np

from vit_jax import errors

POSITIONS = 'encoder/position_embedding/embedding'

_PREFIX_TOKENS = ('class_token', 'distillation_token')


def corner_aligned(new, old):
  """Returns the matrix that interpolates linearly and keeps the corners.

  As `scipy.ndimage.zoom` of order 1, with which the released code fine-tunes
  at higher resolution (ViT paper, section 3.2).
  """
  return _interpolate(np.linspace(0, old - 1, new), old, _triangle)


def bilinear(new, old):
  """Returns the matrix of linear interpolation between centres of pixels."""
  return _interpolate(_centres(new, old), old, _triangle)


def bicubic(new, old):
  """Returns the matrix of cubic interpolation between centres of pixels.

  Keys (1981) with a = -0.75, as PyTorch and OpenCV have it.
  """
  return _interpolate(_centres(new, old), old, _cubic)


def bicubic_antialiased(new, old):
  """Returns the matrix of cubic interpolation that sees every old row.

  Keys (1981) with a = -0.5, as wide as the new rows where these are wider, and
  cut off at the border; as PIL has it, and PyTorch with `antialias`.
  """
  width = max(1, old / new)
  distance = np.abs(_centres(new, old)[:, None] - np.arange(old)) / width
  matrix = _cubic(distance, a=-0.5)
  return matrix / matrix.sum(axis=1, keepdims=True)


METHODS = {
  'corner_aligned': corner_aligned,
  'bilinear': bilinear,
  'bicubic': bicubic,
  'bicubic_antialiased': bicubic_antialiased,
}


def num_prefix_tokens(flat):
  """Returns how many tokens precede the patches, by the paths there are."""
  return sum(token in flat for token in _PREFIX_TOKENS)


def find_grids(given, wanted, given_grid, grid):
  """Returns ((rows, columns) in the file, in the model), None if unchanged.

  Args:
    given: {path: shape} of the weights.
    wanted: {path: shape} of the model.
    given_grid: the grid of the weights; None: a square, as in every released
      file, none of which tells; if it can be none, that of the model.
    grid: the grid of the model; None: that of the weights.

  Raises:
    UserError: a grid is not of as many patches as there are embeddings.
  """
  shape, new_shape = given[POSITIONS], wanted[POSITIONS]
  num_patches = shape[1] - num_prefix_tokens(given)
  new_num_patches = new_shape[1] - num_prefix_tokens(wanted)
  if shape == new_shape and num_patches == new_num_patches and grid is None:
    return None
  if given_grid is None:
    given_grid = _untold_grid(num_patches, grid)
  given_grid = _check_grid('given_grid', given_grid, num_patches)
  if grid is None and num_patches != new_num_patches:
    raise errors.UserError(
      f'The file has position embeddings for {num_patches} patches, the model '
      f'for {new_num_patches}; give the grid=(rows, columns) of the model.'
    )
  grid = _check_grid('grid', grid or given_grid, new_num_patches)
  if given_grid == grid and shape == new_shape:
    return None
  return given_grid, grid


def fit_positions(embedding, num_prefix, new_num_prefix, grids, method):
  """Returns embeddings [1, new tokens, width] for another grid or prefix.

  Args:
    embedding: [1, tokens, width].
    num_prefix: how many of its rows are no patches.
    new_num_prefix: how many shall be; the last are dropped, or added as
      zeros: tokens at no position.
    grids: see `find_grids`.
    method: one of `METHODS`.
  """
  embedding = np.asarray(embedding, np.float32)
  prefix, patches = embedding[:, :num_prefix], embedding[:, num_prefix:]
  num_added = max(0, new_num_prefix - num_prefix)
  prefix = np.pad(prefix, ((0, 0), (0, num_added), (0, 0)))
  grid, new_grid = grids
  if grid != new_grid:
    patches = resize_grid(patches, grid, new_grid, method)
  return np.concatenate([prefix[:, :new_num_prefix], patches], axis=1)


def resize_grid(embedding, grid, new_grid, method):
  """Returns embeddings [1, patches, width] for another grid.

  Args:
    embedding: [1, rows * columns, width].
    grid: its (rows, columns).
    new_grid: the (rows, columns) of the result.
    method: one of METHODS.
  """
  rows, columns = (
    METHODS[method](new, old) for new, old in zip(new_grid, grid)
  )
  image = np.asarray(embedding, np.float64).reshape(*grid, -1)
  image = np.einsum('rh,cw,hwd->rcd', rows, columns, image, optimize=True)
  return image.reshape(1, new_grid[0] * new_grid[1], -1).astype(np.float32)


def resize_patches(kernel, patch):
  """Returns a patch kernel for patches of another size.

  A patch that is enlarged bilinearly gives the embedding that it gave before
  (FlexiViT: Beyer et al., 2023, section 3.4); for smaller patches the result
  is the nearest to that in the sense of least squares.

  Args:
    kernel: [rows, columns, channels, width].
    patch: (rows, columns) of the new kernel.
  """
  rows, columns = (
    np.linalg.pinv(bilinear(new, old).T)
    for new, old in zip(patch, kernel.shape[:2])
  )
  kernel = np.asarray(kernel, np.float64)
  kernel = np.einsum('rh,cw,hwid->rcid', rows, columns, kernel, optimize=True)
  return kernel.astype(np.float32)


def _untold_grid(num_patches, grid):
  side = math.isqrt(max(0, num_patches))
  if side**2 == num_patches:
    return side, side
  if grid and grid[0] * grid[1] == num_patches:
    return grid
  raise errors.UserError(
    f'The file has position embeddings for {num_patches} patches, which are no '
    'square, and does not say how many rows they are. It can be used at the '
    'size that it was trained at, for example by --resolution=ROWSxCOLUMNS of '
    'predict and evaluate.'
  )


def _check_grid(field, grid, num_patches):
  rows, columns = grid
  if rows * columns != num_patches:
    raise errors.UserError(
      f'There are position embeddings for {num_patches} patches, which are no '
      f'grid of {rows} x {columns}; give {field}=(rows, columns).'
    )
  return rows, columns


def _centres(new, old):
  return (np.arange(new) + 0.5) * old / new - 0.5


def _interpolate(positions, old, weight):
  """Returns [positions, old] weights; beyond the border, the border counts."""
  matrix = np.zeros((len(positions), old))
  nearest = np.floor(positions).astype(int)
  for offset in range(-1, 3):
    index = nearest + offset
    np.add.at(
      matrix,
      (np.arange(len(positions)), np.clip(index, 0, old - 1)),
      weight(np.abs(positions - index)),
    )
  return matrix


def _triangle(distance):
  return np.maximum(0, 1 - distance)


def _cubic(distance, a=-0.75):
  near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
  far = a * (((distance - 5) * distance + 8) * distance - 4)
  return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
