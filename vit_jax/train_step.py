"""The state of a training and one step of optimisation, for every method."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from vit_jax import metrics as means

MEMORY = 0.99  # Of the running mean of the loss, per update.


@flax.struct.dataclass
class Health:
  """What a run remembers of updates that were left out.

  num_skipped: int32 scalar; steps whose batch has left no update.
  num_in_row: int32 scalar; how many of them are the last steps made.
  mean_loss: float32 scalar; running mean over updates; 0 before the first.
  """

  num_skipped: jax.Array
  num_in_row: jax.Array
  mean_loss: jax.Array


@flax.struct.dataclass
class TrainState:
  """All that changes in a training.

  step: int32 scalar; the number of batches taken.
  params: float32 arrays, as nested dicts.
  opt_state: of the optimizer.
  rng: the key that every step folds its number into.
  health: of the numbers.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  rng: jax.Array
  health: Health


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
    health = Health(jnp.int32(0), jnp.int32(0), jnp.float32(0))
    return TrainState(
      jnp.int32(0), params, optimizer.init(params), state_rng, health
    )

  return init


def make_train_step(objective, optimizer, max_in_row=None, loss_spike=None):
  """Returns train_step(state, batch), which gives the next state and metrics.

  A batch whose loss or update is not finite leaves parameters and optimizer
  bitwise as they were. The metrics count such steps: `skipped` since the
  start, `skipped_in_row` among the last.

  train_step also takes `halt`, bools [any]. Where one is True, or `max_in_row`
  steps in a row were skipped, the whole state stays as it is, whatever the
  batch; `halted` among the metrics tells. Processes agree by it to stop.

  Args:
    objective: has loss(params, batch, rng), which returns the loss and
      {name: metrics.Mean}.
    optimizer: an `optax.GradientTransformation`.
    max_in_row: so many steps skipped in a row stop the training; None: any.
    loss_spike: a batch whose loss is more than this many times the running
      mean is skipped too; None: none is.
  """

  def train_step(state, batch, halt=False):
    rng = jax.random.fold_in(state.rng, state.step)  # As after a resume.
    (loss, metrics), grads = jax.value_and_grad(objective.loss, has_aux=True)(
      state.params, batch, rng
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)

    halted = jnp.any(jnp.asarray(halt))
    if max_in_row is not None:
      halted |= state.health.num_in_row >= max_in_row
    good = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(updates))
    good &= ~_is_spike(loss, state.health.mean_loss, loss_spike)
    params, opt_state = _choose(
      good & ~halted,
      (params, opt_state),
      (state.params, state.opt_state),
    )
    health = _choose(halted, state.health, _next(state.health, good, loss))
    state = state.replace(
      step=state.step + ~halted,
      params=params,
      opt_state=opt_state,
      health=health,
    )
    return state, {**metrics, **_report(health, halted)}

  return train_step


def _is_spike(loss, mean_loss, factor):
  if factor is None:
    return jnp.bool_(False)
  return (mean_loss > 0) & (loss > factor * mean_loss)


def _next(health, good, loss):
  """Returns the health after a step whose update was made if it was `good`."""
  mean = health.mean_loss
  moved = jnp.where(mean > 0, MEMORY * mean + (1 - MEMORY) * loss, loss)
  return Health(
    num_skipped=health.num_skipped + ~good,
    num_in_row=jnp.where(good, 0, health.num_in_row + 1),
    mean_loss=jnp.where(good, moved, mean).astype(jnp.float32),
  )


def _report(health, halted):
  return {
    name: means.Mean(value.astype(jnp.float32), jnp.float32(1))
    for name, value in {
      'skipped': health.num_skipped,
      'skipped_in_row': health.num_in_row,
      'halted': halted,
    }.items()
  }


def _choose(condition, tree, other):
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), tree, other)
