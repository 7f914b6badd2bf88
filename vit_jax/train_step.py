"""The state of a training and one step of optimisation, for every method."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
  """All that changes in a training.

  step: int32 scalar; the number of updates made.
  params: float32 arrays, as nested dicts.
  opt_state: of the optimizer.
  rng: the key that every step folds its number into.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  rng: jax.Array


def make_init(objective, optimizer, image_size):
  """Returns init(rng), which makes the first `TrainState`.

  Args:
    objective: has init(rng, image_size), which makes parameters.
    optimizer: an `optax.GradientTransformation`.
    image_size: (rows, columns) in pixels.
  """

  def init(rng):
    params_rng, state_rng = jax.random.split(rng)
    params = objective.init(params_rng, image_size)
    return TrainState(jnp.int32(0), params, optimizer.init(params), state_rng)

  return init


def make_train_step(objective, optimizer):
  """Returns train_step(state, batch), which gives the next state and metrics.

  Args:
    objective: has loss(params, batch, rng), which returns the loss and
      {name: metrics.Mean}.
    optimizer: an `optax.GradientTransformation`.
  """

  def train_step(state, batch):
    rng = jax.random.fold_in(state.rng, state.step)  # As after a resume.
    grads, metrics = jax.grad(objective.loss, has_aux=True)(
      state.params, batch, rng
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    state = state.replace(
      step=state.step + 1, params=params, opt_state=opt_state
    )
    return state, metrics

  return train_step
