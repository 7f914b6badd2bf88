"""The state of a training and one step of optimisation, for every method."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from vit_jax.evaluation import metrics as means

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
  ema: exponential moving average of the parameters over updates (Polyak &
    Juditsky, 1992); None: there is none.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  rng: jax.Array
  health: Health
  ema: Any = None

  @property
  def eval_params(self):
    """What to evaluate and to publish: the average, where there is one."""
    return self.params if self.ema is None else self.ema

  def with_params(self, params, optimizer):
    """Returns the state before the first update of other parameters."""
    return self.replace(
      params=params,
      opt_state=optimizer.init(params),
      ema=None if self.ema is None else params,
    )


def init_rngs(rng):
  """Returns the key that makes parameters, and that of the `TrainState`."""
  params_rng, state_rng = jax.random.split(rng)
  return params_rng, state_rng


def step_rngs(state_rng, step, mixes):
  """Returns the keys of a step, which are the same after a resume.

  Args:
    state_rng: of the `TrainState`.
    step: number of batches taken before.
    mixes: whether batches are mixed.

  Returns:
    The key to mix the batch with, or None, and that of the loss.
  """
  rng = jax.random.fold_in(state_rng, step)
  if not mixes:
    return None, rng
  mix_rng, loss_rng = jax.random.split(rng)
  return mix_rng, loss_rng


def make_init(objective, optimizer, image_size, averages=False):
  """Returns init(rng), which makes the first `TrainState`.

  Args:
    objective: has init(rng, image_size), which makes parameters.
    optimizer: an `optax.GradientTransformation`.
    image_size: (rows, columns) in pixels.
    averages: whether the parameters are averaged.
  """

  def init(rng):
    params_rng, state_rng = init_rngs(rng)
    params = objective.init(params_rng, image_size)
    health = Health(jnp.int32(0), jnp.int32(0), jnp.float32(0))
    ema = params if averages else None
    return TrainState(
      jnp.int32(0), params, optimizer.init(params), state_rng, health, ema
    )

  return init


def make_train_step(
  objective,
  optimizer,
  max_in_row=None,
  loss_spike_factor=None,
  mix=None,
  num_microbatches=1,
  ema_decay=None,
  trained=None,
):
  """Returns train_step(state, batch), which gives the next state and metrics.

  A batch whose loss or gradient is not finite leaves parameters, their average
  and the optimizer bitwise as they were. The metrics count such steps:
  `skipped` since the start, `skipped_in_row` among the last.

  train_step also takes `halt`, bools [any]. Where one is True, or `max_in_row`
  steps in a row were skipped, the whole state stays as it is, whatever the
  batch; `halted` among the metrics tells. Processes agree by it to stop.

  Args:
    objective: has loss(params, batch, rng), which returns the loss and
      {name: metrics.Mean}; the loss is the mean called 'loss' among them.
    optimizer: an `optax.GradientTransformation`.
    max_in_row: so many steps skipped in a row stop the training; None: any.
    loss_spike_factor: a batch whose loss is more than this many times the
      running mean is skipped too; None: none is.
    mix: maps a batch and a key to the batch for the loss; None: the same one.
    num_microbatches: into how many microbatches a batch is split for one update
      (gradient accumulation); saves memory and changes no gradient.
    ema_decay: the fraction of the average that an update leaves in place; None
      where there is no average.
    trained: tree of bools: which parameters are; None: all. The gradients of
      others are not computed.
  """

  def train_step(state, batch, halt=False):
    mix_rng, rng = step_rngs(state.rng, state.step, mix is not None)
    if mix is not None:
      batch = mix(batch, mix_rng)
    loss, metrics, grads = _differentiate(
      objective.loss, state.params, batch, rng, num_microbatches
    )
    proposed = _propose(optimizer, state, grads, ema_decay)
    halted = jnp.any(jnp.asarray(halt))
    if max_in_row is not None:
      halted |= state.health.num_in_row >= max_in_row
    norm = _norm(grads, trained)
    good = _is_good(loss, norm, state.health.mean_loss, loss_spike_factor)
    health = _choose(halted, state.health, _next(state.health, good, loss))
    step = state.step + ~halted
    state = _choose(good & ~halted, proposed, state)
    state = state.replace(step=step, health=health)
    return state, {**metrics, **_report(health, halted)}

  return train_step


def _differentiate(loss, params, batch, rng, num_microbatches):
  """Returns the loss of a batch, its metrics and its gradients."""
  differentiate = jax.value_and_grad(loss, has_aux=True)
  if num_microbatches == 1:
    (value, metrics), grads = differentiate(params, batch, rng)
    return value, metrics, grads

  def weighted(microbatch):
    index, batch = microbatch
    rng_of_it = jax.random.fold_in(rng, index)
    (value, metrics), grads = differentiate(params, batch, rng_of_it)
    weight = metrics['loss'].count  # Of examples that are no padding.
    return metrics, jax.tree.map(lambda leaf: weight * leaf, (value, grads))

  def add(total, microbatch):
    return jax.tree.map(jnp.add, total, weighted(microbatch)), None

  microbatches = (
    jnp.arange(num_microbatches),
    jax.tree.map(lambda leaf: _split(leaf, num_microbatches), batch),
  )
  shapes = jax.eval_shape(
    weighted, jax.tree.map(lambda leaf: leaf[0], microbatches)
  )
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  (metrics, sums), _ = jax.lax.scan(add, zeros, microbatches)
  count = jnp.maximum(metrics['loss'].count, 1)
  value, grads = jax.tree.map(lambda leaf: leaf / count, sums)
  return value, metrics, grads


def _norm(grads, trained):
  """Returns the norm of the gradients of what is trained."""
  if trained is not None:
    grads = jax.tree.map(
      lambda keep, grad: grad if keep else None, trained, grads
    )
  return optax.tree.norm(grads)


def _split(leaf, num_microbatches):
  """Maps [batch, ...] to [microbatches, batch / microbatches, ...].

  Each microbatch takes every so many-th example. Of a batch that is split over
  devices it so takes an equal share from each, and none has to move.
  """
  leaf = leaf.reshape(-1, num_microbatches, *leaf.shape[1:])
  return leaf.swapaxes(0, 1)


def _propose(optimizer, state, grads, ema_decay):
  """Returns the state with its parameters, and what mirrors them, updated."""
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  ema = state.ema
  if ema is not None:
    ema = optax.incremental_update(params, ema, 1 - ema_decay)
  return state.replace(params=params, opt_state=opt_state, ema=ema)


def _is_good(loss, norm, mean_loss, spike):
  """Tells whether an update may be made.

  It is the norm of the gradients that is asked for, which also clips: that of
  the updates would be known only once all of them were written to memory.
  """
  good = jnp.isfinite(loss) & jnp.isfinite(norm)
  if spike is not None:
    good &= ~((mean_loss > 0) & (loss > spike * mean_loss))
  return good


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
