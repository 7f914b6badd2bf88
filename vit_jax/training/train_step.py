"""The training state and one step of optimisation, for every objective."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from vit_jax.evaluation import metrics as means

MEMORY = 0.99  # Of the running mean of the loss, per update.


@flax.struct.dataclass
class Health:
  """Statistics of skipped updates.

  num_skipped: int32 scalar; steps whose update was skipped.
  num_in_row: int32 scalar; consecutive skipped steps up to now.
  mean_loss: float32 scalar; running mean over updates; 0 before the first.
  """

  num_skipped: jax.Array
  num_in_row: jax.Array
  mean_loss: jax.Array


@flax.struct.dataclass
class TrainState:
  """Everything that changes during training.

  step: int32 scalar; the number of batches taken.
  params: float32 arrays, as nested dicts.
  opt_state: of the optimizer.
  rng: the key that every step folds its number into.
  health: statistics of skipped updates.
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
    """The parameters to evaluate and publish: the EMA, where there is one."""
    return self.params if self.ema is None else self.ema

  def with_params(self, params, optimizer):
    """Returns the state before the first update of other parameters."""
    return self.replace(
      params=params,
      opt_state=optimizer.init(params),
      ema=None if self.ema is None else params,
    )


def init_rngs(rng):
  """Returns the key for the parameters, and that of the `TrainState`."""
  params_rng, state_rng = jax.random.split(rng)
  return params_rng, state_rng


def step_rngs(state_rng, step, mixes):
  """Returns the keys of a step, which are the same after a resume.

  Args:
    state_rng: of the `TrainState`.
    step: number of batches taken before.
    mixes: whether batches are mixed.

  Returns:
    The key for mixing the batch, or None, and that for the loss.
  """
  rng = jax.random.fold_in(state_rng, step)
  if not mixes:
    return None, rng
  mix_rng, loss_rng = jax.random.split(rng)
  return mix_rng, loss_rng


def make_init(objective, optimizer, image_size, averages=False):
  """Returns init(rng), which returns the initial `TrainState`.

  Args:
    objective: has init(rng, image_size), which returns parameters.
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
  learning_rate=None,
  report_parameter_norm=False,
):
  """Returns train_step(state, batch), which returns the next state and metrics.

  A batch whose loss or gradient is not finite leaves parameters, their average
  and the optimizer bitwise unchanged. The metrics count such steps: `skipped`
  since the start, `skipped_in_row` consecutively up to now. They also have the
  L2 norm of the gradients of what is trained, before any clipping.

  train_step also takes `halt`, bools [any]. Where one is True, or `max_in_row`
  consecutive steps were skipped, the whole state stays unchanged, whatever the
  batch, and the metric `halted` is 1. Processes use it to agree to stop.

  Args:
    objective: has loss(params, batch, rng), which returns the loss and
      {name: metrics.Mean}; the loss is the mean called 'loss' among them.
    optimizer: an `optax.GradientTransformation`.
    max_in_row: number of consecutive skipped steps that stops the training;
      None: never.
    loss_spike_factor: a batch whose loss is more than this many times the
      running mean is skipped too; None: never.
    mix: maps a batch and a key to the batch for the loss; None: unchanged.
    num_microbatches: number of microbatches that a batch is split into for one
      update (gradient accumulation); saves memory and changes no gradient.
    ema_decay: fraction of the average that an update leaves in place; None
      where there is no average.
    trained: tree of bools: which parameters are trained; None: all. Gradients
      of the others are not computed.
    learning_rate: maps the number of updates before one to its learning rate,
      which becomes a metric, too; or None.
    report_parameter_norm: whether the L2 norm of all parameters is a metric.
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
    report = {'gradient_norm': norm, **_report(health, halted)}
    if learning_rate is not None:
      report['learning_rate'] = learning_rate(
        state.step - state.health.num_skipped
      )
    step = state.step + ~halted
    state = _choose(good & ~halted, proposed, state)
    state = state.replace(step=step, health=health)
    if report_parameter_norm:
      report['parameter_norm'] = optax.tree.norm(state.params)
    return state, {**metrics, **_as_means(report)}

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
    weight = metrics['loss'].count  # Of examples, without padding.
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

  Each microbatch takes every n-th example: of a batch that is sharded over
  devices, as many from each, so that none has to move.
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
  """Returns whether the update is accepted.

  Checks the norm of the gradients, which clipping needs anyway: that of the
  updates would be known only once all of them were written to memory.
  """
  good = jnp.isfinite(loss) & jnp.isfinite(norm)
  if spike is not None:
    good &= ~((mean_loss > 0) & (loss > spike * mean_loss))
  return good


def _next(health, good, loss):
  """Returns the health after a step whose update was accepted if `good`."""
  mean = health.mean_loss
  moved = jnp.where(mean > 0, MEMORY * mean + (1 - MEMORY) * loss, loss)
  return Health(
    num_skipped=health.num_skipped + ~good,
    num_in_row=jnp.where(good, 0, health.num_in_row + 1),
    mean_loss=jnp.where(good, moved, mean).astype(jnp.float32),
  )


def _report(health, halted):
  return {
    'skipped': health.num_skipped,
    'skipped_in_row': health.num_in_row,
    'halted': halted,
  }


def _as_means(values):
  return {
    name: means.Mean(value.astype(jnp.float32), jnp.float32(1))
    for name, value in values.items()
  }


def _choose(condition, tree, other):
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), tree, other)
