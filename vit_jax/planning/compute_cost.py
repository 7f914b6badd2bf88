"""The FLOPs of a model, counted without running it.

Two operations per multiply-add of every matrix product and convolution,
nothing for the rest (Chowdhery et al., 2022, appendix B). Only what JAX itself
traces is counted: a fused kernel written in another language is not.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend import core

from vit_jax import models
from vit_jax.config import schema

JFT_CLASSES = 18_291  # Of JFT-300M (Sun et al., 2017, section 3).
JFT_IMAGES = 303e6  # ViT paper, section 4.1.

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


def exaflops(name, num_images, num_epochs, num_classes=JFT_CLASSES):
  """Returns 1e-18 of the operations of a pre-training (ViT paper, table 6).

  At 224 pixels. The head counts, as it is computed for every image; taps on
  padding don't: with them, ResNets would cost 3.5 % more than is printed.

  Args:
    name: of a model, such as 'ViT-B/16'.
    num_images: in the data set.
    num_epochs: how many times each is seen.
    num_classes: of the data set.
  """
  model = schema.default().model
  model.name = name
  module = models.build(model, num_classes)
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)

  def logits(rng, images):  # Traced once: initialization has no products.
    output, _ = module.init_with_output(rng, images, train=False)
    return output.logits

  flops = forward_flops(logits, jax.random.key(0), images, on_padding=False)
  return 3 * flops * num_images * num_epochs / 1e18


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
