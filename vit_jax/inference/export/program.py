"""The computation that is exported: pixels in, one array out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax import errors, models, pytrees
from vit_jax.data import batch
from vit_jax.nn import weight_standardization

PIXELS = {'uint8': (0, 255), 'float32': (-1, 1)}  # Their range, by dtype.
OUTPUTS = ('probabilities', 'logits', 'features')
ACTIVATIONS = {'softmax': jax.nn.softmax, 'sigmoid': jax.nn.sigmoid}
INPUT = 'images'  # What the input is called; the output, as in `OUTPUTS`.


@dataclasses.dataclass(frozen=True)
class Program:
  """A function of pixels with its parameters, on no device in particular.

  Attributes:
    apply: apply(params, images) -> float32 [batch, features].
    params: tree of NumPy arrays, layer by layer.
    image_size: (rows, columns) in pixels.
    pixels: dtype of the images, a key of `PIXELS`.
    output: one of `OUTPUTS`.
    width: of the output.
    dtype: in which the model computes.
    activation: from logits to probabilities, a key of `ACTIVATIONS`.
  """

  apply: Callable
  params: Any
  image_size: tuple[int, int]
  pixels: str
  output: str
  width: int
  dtype: str
  activation: str

  def call(self, images):
    """The same with the parameters as constants."""
    return self.apply(self.params, images)

  def images(self, batch_size):
    """Returns the `jax.ShapeDtypeStruct` of the input."""
    shape = (batch_size, *self.image_size, 3)
    return jax.ShapeDtypeStruct(shape, jnp.dtype(self.pixels))

  @property
  def num_bytes(self):
    """Of the parameters."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(self.params))


def build(params, card, image_size, *, output, pixels):
  """Returns the `Program` of a model.

  However the model was run, the program has its layers one by one, without a
  loop, and XLA's attention, which every device has.

  Args:
    params: of the model; layers may be stacked.
    card: its `card.Card`.
    image_size: (rows, columns) in pixels, which the parameters fit.
    output: one of `OUTPUTS`.
    pixels: a key of `PIXELS`.

  Raises:
    UserError: there is no such output, or the parameters are not of the card's
      model at this size.
  """
  check(card, output, pixels)
  config = card.model.copy_and_resolve_references()
  config.update(scan=False, remat='none', attention='auto')
  module = models.build(config, card.num_classes)
  params = jax.device_get(pytrees.unstack(params))
  _check_params(params, models.params_of(module, image_size))
  activation = activation_of(card)

  def apply(params, images):
    # What an image is should not depend on what computes it.
    with (
      jax.default_matmul_precision('highest'),
      nn.intercept_methods(_standardize_constants),
    ):
      if pixels == 'uint8':
        images = batch.to_model_range(images)
      found = module.apply({'params': params}, images, train=False)
    if output == 'features':
      return found.pooled.astype(jnp.float32)
    if output == 'logits':
      return found.logits
    return ACTIVATIONS[activation](found.logits)

  program = Program(
    apply, params, image_size, pixels, output, 0, config.dtype, activation
  )
  shape = jax.eval_shape(apply, params, program.images(1)).shape
  return dataclasses.replace(program, width=shape[-1])


def check(card, output, pixels):
  """Raises UserError for an unknown choice, or classes of no head."""
  errors.choose('The output', output, dict.fromkeys(OUTPUTS))
  errors.choose('The dtype of pixels', pixels, PIXELS)
  if output != 'features' and not card.num_classes:
    raise errors.UserError(
      f'These weights have no head, and so no {output}; the output features '
      'is what a head would read.'
    )


def activation_of(card):
  """Returns the key of `ACTIVATIONS` that fits how the head was trained."""
  return 'sigmoid' if card.source.get('loss') == 'sigmoid' else 'softmax'


def _check_params(params, wanted):
  lines = pytrees.diff(_shapes(params), _shapes(wanted))
  if lines:
    raise errors.UserError(
      'These are not parameters of the model at this size:\n' + '\n'.join(lines)
    )


def _shapes(tree):
  return {path: leaf.shape for path, leaf in pytrees.flatten(tree).items()}


def _standardize_constants(call, args, kwargs, context):
  """Standardizes constant kernels now, where XLA would take minutes for it."""
  module = context.module
  if not (
    isinstance(module, weight_standardization.StdConv)
    and context.method_name == '__call__'
    and module.standardize is not _as_it_is
    and module.has_variable('params', 'kernel')
  ):
    return call(*args, **kwargs)
  kernel = module.get_variable('params', 'kernel')
  if isinstance(kernel, jax.core.Tracer):
    return call(*args, **kwargs)
  with jax.ensure_compile_time_eval():
    kernel = jax.device_get(module.standardize(kernel))
  plain = module.clone(parent=None, standardize=_as_it_is)
  return plain.apply({'params': {'kernel': kernel}}, *args, **kwargs)


def _as_it_is(kernel):
  return jnp.asarray(kernel)
