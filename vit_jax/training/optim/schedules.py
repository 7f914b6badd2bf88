"""Learning rates: a linear rise from zero, then one of four shapes.

Cosine and linear are those of the ViT paper (tables 3 and 4); rsqrt is that of
Zhai et al. (2022), 'Scaling Vision Transformers'.
"""

import jax.numpy as jnp

from vit_jax import errors
from vit_jax.config import validation


def cosine(steps, num_steps, optimizer):
  """Half a cosine from the peak to the end (Loshchilov & Hutter, 2017)."""
  peak, end = optimizer.learning_rate, optimizer.end_learning_rate
  progress = _progress(steps, num_steps)
  return end + (peak - end) * (1 + jnp.cos(jnp.pi * progress)) / 2


def linear(steps, num_steps, optimizer):
  """A straight line from the peak to the end."""
  peak, end = optimizer.learning_rate, optimizer.end_learning_rate
  return peak + (end - peak) * _progress(steps, num_steps)


def rsqrt(steps, num_steps, optimizer):
  """peak / sqrt(1 + steps / timescale), whatever the length of the training.

  In the form of big_vision, which shifts time so that the decay begins at the
  peak. With a timescale equal to the warm-up this is the schedule of Vaswani
  et al. (2017), equation 3: peak * sqrt(warm-up / step).
  """
  del num_steps
  decay = jnp.sqrt(1 + steps / optimizer.rsqrt_timescale)
  return optimizer.learning_rate / decay


def constant(steps, num_steps, optimizer):
  """The peak, for ever."""
  del num_steps
  return optimizer.learning_rate + 0 * steps


# Each maps (steps since the warm-up, steps from there to the end, the
# configuration of the optimiser) to a learning rate.
SCHEDULES = {
  'cosine': cosine,
  'linear': linear,
  'rsqrt': rsqrt,
  'constant': constant,
}


def build(optimizer, num_steps):
  """Returns learning_rate(step), to be used under jit or outside of it.

  Args:
    optimizer: the part `optimizer` of the configuration.
    num_steps: length of the training, warm-up included.

  Returns:
    A function of the step, from 0, to a float32 scalar: 0 at step 0 if there
    is a warm-up, the peak at step `warmup_steps`, and for cosine and linear
    `end_learning_rate` at `num_steps` and after.

  Raises:
    UserError: the warm-up is longer than the training, or there is no such
      schedule.
  """
  validation.check_warmup(optimizer, num_steps)
  shape = errors.choose('optimizer.schedule', optimizer.schedule, SCHEDULES)
  peak, warmup = optimizer.learning_rate, optimizer.warmup_steps

  def learning_rate(step):
    step = jnp.asarray(step, jnp.float32)
    rising = peak * step / max(1, warmup)
    falling = shape(
      jnp.maximum(step - warmup, 0), num_steps - warmup, optimizer
    )
    return jnp.where(step < warmup, rising, falling)

  return learning_rate


def _progress(steps, num_steps):
  # A warm-up as long as the training leaves no steps to divide by.
  return jnp.minimum(steps / max(1, num_steps), 1)
