"""Products of activations and kernels, as matrix products.

The gradient of a kernel sums over images and tokens. Where these are two
dimensions, XLA writes transposed copies of the activations for it, at least on
CPUs.
"""

import math

import jax


def dot_general(x, kernel, dimension_numbers, **options):
  """Returns [..., features], as `jax.lax.dot_general` would.

  For the argument `dot_general` of Flax's layers.

  Args:
    x: [..., inputs]; the inputs may be several dimensions, the last.
    kernel: [inputs, features], both of any number of dimensions.
    dimension_numbers: of such a product; no others are supported.
    **options: see `jax.lax.dot_general`.
  """
  (of_x, of_kernel), of_batch = dimension_numbers
  count = len(of_kernel)
  assert of_batch == ((), ()) and tuple(of_kernel) == tuple(range(count))
  assert tuple(of_x) == tuple(range(x.ndim - count, x.ndim))
  num_inputs = math.prod(kernel.shape[:count])
  y = jax.lax.dot_general(
    x.reshape(-1, num_inputs),
    kernel.reshape(num_inputs, -1),
    (((1,), (0,)), ((), ())),
    **options,
  )
  return y.reshape(*x.shape[:-count], *kernel.shape[count:])
