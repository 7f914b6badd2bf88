"""The FLOPs of a function, counted without running it.

Two operations per multiply-add of every matrix product and convolution,
nothing for the rest (Chowdhery et al., 2022, appendix B). Only what JAX itself
traces is counted: a fused kernel written in another language is not.
"""

import math

import jax
from jax.extend import core

# These run their body an unknown number of times, or once per device.
_UNCOUNTABLE = ('while', 'pallas_call', 'shard_map')

# Parameters that determine where the taps of a convolution fall.
_TAP_PARAMS = ('window_strides', 'padding', 'lhs_dilation', 'rhs_dilation')


def forward_flops(apply, *args, on_padding=True):
  """Returns the operations of apply(*args), an int; allocates nothing.

  Args:
    apply: a function that JAX can trace.
    *args: trees of arrays or of `jax.ShapeDtypeStruct`.
    on_padding: whether taps of a kernel that fall on padding count. Devices
      multiply by those zeros, and published GMACs include them; XLA's cost
      analysis does not.

  Raises:
    ValueError: there are products in a loop of unknown length.
  """
  return 2 * _multiply_adds(jax.make_jaxpr(apply)(*args).jaxpr, on_padding)


def training_flops(apply, *args):
  """Returns the operations of a forward and a backward pass, an int.

  Three times `forward_flops`; see there for arguments and errors.

  The gradient of each of the two factors of a product costs as much as the
  product. Activations recomputed to save memory don't count.
  """
  return 3 * forward_flops(apply, *args)


def _multiply_adds(jaxpr, on_padding):
  return sum(_of_equation(equation, on_padding) for equation in jaxpr.eqns)


def _of_equation(equation, on_padding):
  name, params = equation.primitive.name, equation.params
  if name == 'dot_general':
    return _of_product(equation)
  if name == 'conv_general_dilated':
    return _of_convolution(equation, on_padding)
  bodies = [_multiply_adds(body, on_padding) for body in _bodies(params)]
  if name in _UNCOUNTABLE and any(bodies):
    raise ValueError(
      f'There are products in a {name}, and how often it runs is not known; '
      'written as a scan, they can be counted.'
    )
  if name == 'scan':
    return params['length'] * sum(bodies)
  return max(bodies, default=0) if name == 'cond' else sum(bodies)


def _of_product(equation):
  (contracted, _), _ = equation.params['dimension_numbers']
  shape = equation.invars[0].aval.shape
  return equation.outvars[0].aval.size * math.prod(
    shape[axis] for axis in contracted
  )


def _of_convolution(equation, on_padding):
  image, kernel = (variable.aval.shape for variable in equation.invars)
  out = equation.outvars[0].aval.shape
  axes = equation.params['dimension_numbers']
  count = (
    out[axes.out_spec[0]] * out[axes.out_spec[1]] * kernel[axes.rhs_spec[1]]
  )
  for dimension in range(len(out) - 2):
    taps = _taps(
      image[axes.lhs_spec[2 + dimension]],
      kernel[axes.rhs_spec[2 + dimension]],
      out[axes.out_spec[2 + dimension]],
      {key: equation.params[key][dimension] for key in _TAP_PARAMS},
    )
    count *= len(taps) if on_padding else sum(taps)
  return count


def _taps(size, kernel_size, out_size, params):
  """Returns, per output and tap of one dimension, whether it is on an input."""
  dilated_size = (size - 1) * params['lhs_dilation'] + 1
  positions = [
    out * params['window_strides']
    - params['padding'][0]
    + tap * params['rhs_dilation']
    for out in range(out_size)
    for tap in range(kernel_size)
  ]
  return [
    0 <= position < dilated_size and position % params['lhs_dilation'] == 0
    for position in positions
  ]


def _bodies(params):
  """Yields the jaxprs inside an equation."""
  for value in params.values():
    for leaf in value if isinstance(value, (tuple, list)) else [value]:
      if isinstance(leaf, core.ClosedJaxpr):
        yield leaf.jaxpr
      elif isinstance(leaf, core.Jaxpr):
        yield leaf
