"""Position embeddings for another grid, patch kernels for another patch size.

Both resize along rows and columns in turn, by a matrix [new, old] each.
"""

import numpy as np


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


METHODS = {
  'corner_aligned': corner_aligned,
  'bilinear': bilinear,
  'bicubic': bicubic,
}


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
