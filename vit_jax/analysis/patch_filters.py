"""What the first layer looks for: principal components of its filters.

ViT paper, section 4.5; figure 7 (left).
"""

import numpy as np

from vit_jax.nn import weight_standardization

COUNT = 28  # In figure 7.

# Kernels that may read the pixels, and what their layer does to them first.
_KERNELS = {
  'stem/embedding/kernel': lambda kernel: kernel,
  'stem/root_conv/kernel': weight_standardization.divide_by_deviation,
  'root_conv/kernel': weight_standardization.divide_by_root_of_variance,
}


def find(shapes):
  """Returns the path of the kernel that reads the colours of pixels.

  Args:
    shapes: {path: array or shape} of a model's parameters.
  """
  (path,) = (
    path for path in _KERNELS if path in shapes and shapes[path].shape[2] == 3
  )
  return path


def as_applied(path, kernel):
  """Returns the kernel of a path of `find` as the image meets it."""
  return _KERNELS[path](kernel)


def principal_components(kernel, count=COUNT):
  """Returns the directions in which filters differ most, and by how much.

  Each output of the layer is an observation, its filter a vector of rows *
  columns * channels; their mean is taken away first.

  Args:
    kernel: [rows, columns, channels, width], such as a patch embedding's.
    count: how many to return; fewer, where there are no more.

  Returns:
    (components, shares): float32 [count, rows, columns, channels], orthogonal
    and of length one, the entry of largest magnitude positive; and float32
    [count], the fraction of the variance that each explains, falling.
  """
  shape = kernel.shape[:-1]
  filters = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]).T
  filters = filters - filters.mean(axis=0)  # [width, rows * columns * channels]
  _, scale, components = np.linalg.svd(filters, full_matrices=False)
  count = min(count, len(components), len(filters) - 1)  # Of any variance.
  components = components[:count]
  # The sign of a direction is arbitrary; this one does not depend on LAPACK.
  largest = np.abs(components).argmax(axis=1)
  components *= np.sign(components[np.arange(count), largest])[:, None]
  total = max(np.sum(scale**2), np.finfo(np.float64).tiny)
  shares = scale[:count] ** 2 / total
  return (
    components.reshape(count, *shape).astype(np.float32),
    shares.astype(np.float32),
  )
