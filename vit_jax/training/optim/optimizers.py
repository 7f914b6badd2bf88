"""Adam and SGD with decoupled weight decay, as optax transformations.

The order is that of the ViT paper's code: gradients are clipped, the moments
see the clipped gradients, and decay is added to what the moments give
(Loshchilov & Hutter, 2019, algorithm 2), so it never enters them.
"""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vit_jax import errors, pytrees
from vit_jax.training.optim import parameter_groups, schedules


def adam(optimizer):
  """Adam's direction (Kingma & Ba, 2015), before any learning rate."""
  return optax.scale_by_adam(
    b1=optimizer.beta1,
    b2=optimizer.beta2,
    eps=optimizer.eps,
    mu_dtype=jnp.dtype(optimizer.accumulator_dtype),
  )


def sgd(optimizer):
  """Momentum in the form m = momentum * m + gradient."""
  return optax.trace(
    decay=optimizer.momentum,
    accumulator_dtype=jnp.dtype(optimizer.accumulator_dtype),
  )


OPTIMIZERS = {'adam': adam, 'sgd': sgd}
# {field: table of what can be chosen, by name}.
CHOICES = {
  'optimizer.name': OPTIMIZERS,
  'optimizer.schedule': schedules.SCHEDULES,
  'optimizer.accumulator_dtype': ('float32', 'bfloat16'),
}


def build(optimizer, params_shape, num_steps):
  """Returns the `optax.GradientTransformation` of a run.

  With lr the schedule, u the direction of Adam or SGD, m what
  `learning_rate_rules` (times the layer's factor, where there is a
  `layer_decay`) and d what `decay_rules` say of the parameter p:

      decay_times_learning_rate=True    p -= lr * m * (u + weight_decay * d * p)
      decay_times_learning_rate=False   p -= lr * m * u
                                             + lr / peak * weight_decay * d * p

  The first is the convention of the ViT paper; the second, that of big_vision,
  decays in the shape of the schedule and whatever its peak. A frozen parameter
  gets an update of zero, has no state, and its gradient doesn't count for
  clipping.

  Args:
    optimizer: the part `optimizer` of the configuration.
    params_shape: tree of parameters or of their shapes.
    num_steps: length of the training, for the schedule.

  Raises:
    UserError: rules leave out a parameter or hold a wrong value, the warm-up
      is too long, a name is unknown, or a model has no layers to decay by.
  """
  direction = errors.choose('optimizer.name', optimizer.name, OPTIMIZERS)
  transformations = [
    direction(optimizer),
    *_descend(optimizer, params_shape, schedules.build(optimizer, num_steps)),
  ]
  if optimizer.clip_norm is not None:
    transformations.insert(0, optax.clip_by_global_norm(optimizer.clip_norm))
  return optax.selective_transform(
    optax.chain(*transformations),
    freeze_mask=jax.tree.map(operator.not_, trained(optimizer, params_shape)),
  )


def trained(optimizer, params_shape):
  """Returns a tree of bools: which parameters get updates.

  Raises:
    UserError: see `parameter_groups.trainable`.
  """
  return parameter_groups.trainable(
    'optimizer.trainable_rules', optimizer.trainable_rules, params_shape
  )


def _descend(optimizer, params_shape, learning_rate):
  """Returns transformations from a direction to an update, decay included."""
  scale = _scale(
    parameter_groups.multipliers(
      'optimizer.learning_rate_rules',
      optimizer.learning_rate_rules,
      params_shape,
      optimizer.layer_decay,
    )
  )
  multipliers = parameter_groups.multipliers(
    'optimizer.decay_rules', optimizer.decay_rules, params_shape
  )
  decay = _add_decay(
    {path: optimizer.weight_decay * d for path, d in multipliers.items()}
  )
  if optimizer.decay_times_learning_rate:
    return decay, scale, optax.scale_by_learning_rate(learning_rate)
  peak = optimizer.learning_rate
  if not peak:
    raise errors.UserError(
      'optimizer.learning_rate=0 leaves no schedule whose shape the decay '
      'could follow; set optimizer.decay_times_learning_rate=True.'
    )
  shape = optax.scale_by_learning_rate(lambda step: learning_rate(step) / peak)
  return optax.scale(peak), scale, decay, shape


def _scale(factors):
  """Multiplies the update of each path by its factor."""
  return optax.stateless(
    lambda updates, _: pytrees.map_with_path(
      lambda path, update: factors[path] * update, updates
    )
  )


def _add_decay(rates):
  """Adds to the update of each path its rate times the parameter."""

  def add(path, update, parameter):
    # No 0 * parameter: it would be read from memory for nothing.
    return update + rates[path] * parameter if np.any(rates[path]) else update

  return optax.stateless(
    lambda updates, params: pytrees.map_with_path(add, updates, params)
  )
