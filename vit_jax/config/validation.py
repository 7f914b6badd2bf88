"""Validation of a configuration, before anything is built from it.

Choices by name are listed where their table is; `check_choices` takes them.
"""

from vit_jax import errors
from vit_jax.config import model_names, schema

# Field: smallest, largest value that makes sense (None: no bound).
RANGES = {
  'seed': (0, None),
  'model.width': (1, None),
  'model.depth': (1, None),
  'model.num_heads': (1, None),
  'model.mlp_dim': (1, None),
  'model.dropout': (0, 0.99),
  'model.drop_path': (0, 0.99),
  'model.norm_epsilon': (1e-15, 0.1),
  'data.num_classes': (1, None),
  'data.num_examples': (1, None),
  'data.min_crop_area': (0.001, 1),
  'data.mixup': (0, 100),
  'data.cutmix': (0, 100),
  'data.random_erasing': (0, 1),
  'data.repeated_augmentation': (1, None),
  'data.max_bad_fraction': (0, 1),
  'data.num_threads': (1, None),
  'data.num_workers': (0, None),
  'data.prefetch_batches': (1, None),
  'objective.label_smoothing': (0, 1),
  'optimizer.learning_rate': (0, None),
  'optimizer.warmup_steps': (0, None),
  'optimizer.end_learning_rate': (0, None),
  'optimizer.rsqrt_timescale': (1, None),
  'optimizer.beta1': (0, 1),
  'optimizer.beta2': (0, 1),
  'optimizer.momentum': (0, 1),
  'optimizer.weight_decay': (0, None),
  'optimizer.clip_norm': (1e-9, None),
  'optimizer.accumulation_steps': (1, None),
  'optimizer.ema_decay': (0, 1),
  'optimizer.layer_decay': (1e-9, 1),
  'run.batch_size': (1, None),
  'run.eval_batch_size': (1, None),
  'run.num_epochs': (0, None),
  'run.num_steps': (1, None),
  'run.log_every': (1, None),
  'run.eval_every': (0, None),
  'run.checkpoint_every': (0, None),
  'run.checkpoints_to_keep': (1, None),
  'run.patience': (1, None),
  'run.max_consecutive_skips': (1, None),
  'run.loss_spike_factor': (1, None),
  'run.watchdog_seconds': (0, None),
  'mesh.fsdp': (1, None),
  'mesh.tensor': (1, None),
}


def check_choices(config, choices):
  """Raises UserError where a field names an entry that its table lacks.

  Args:
    config: what `schema.default()` returns, with the user's values.
    choices: {field: table of choices, by name}.
  """
  for field, table in choices.items():
    errors.choose(field, schema.lookup(config, field), dict.fromkeys(table))


def validate(config, num_devices):
  """Finds impossible or conflicting values, before anything is built.

  Args:
    config: what `schema.default()` returns, with the user's values.
    num_devices: number of devices that the run may use.

  Raises:
    UserError: names the field, what was given and what fits.
  """
  for field, bounds in RANGES.items():
    _check_range(field, schema.lookup(config, field), *bounds)
  check_resolution(config.data.resolution, config.model.name)
  _check_position_embedding(config.model)
  _check_learning_rates(config.optimizer)
  if (config.run.num_epochs is None) == (config.run.num_steps is None):
    raise errors.UserError(
      'Exactly one of run.num_epochs and run.num_steps must be set; '
      f'given: num_epochs={config.run.num_epochs}, '
      f'num_steps={config.run.num_steps}.'
    )
  if config.run.num_steps is not None:
    check_warmup(config.optimizer, config.run.num_steps)
  _check_patience(config.run)
  sizes = schema.mesh_sizes(config.mesh, num_devices)
  num_microbatches = config.optimizer.accumulation_steps
  _check_batch('run.batch_size', config.run.batch_size, sizes, num_microbatches)
  _check_batch('run.eval_batch_size', config.run.eval_batch_size, sizes)


def check_warmup(optimizer, steps):
  """Raises UserError where the warm-up is longer than the training."""
  if optimizer.warmup_steps > steps:
    raise errors.UserError(
      f'optimizer.warmup_steps={optimizer.warmup_steps} is longer than the '
      f'training of {steps} steps; a tenth of it, {steps // 10}, is usual.'
    )


def check_resolution(resolution, model_name):
  """Raises UserError for a resolution that tokens do not cover exactly."""
  if len(resolution) not in (1, 2) or min(resolution) < 1:
    raise errors.UserError(
      f'data.resolution={resolution} is neither (side,) nor '
      '(rows, columns), in pixels.'
    )
  patch = model_names.patch_size(model_name)
  for side in resolution:
    if patch and (side % patch or side < patch):
      lower = side // patch * patch
      fits = [str(fit) for fit in (lower, lower + patch) if fit]
      raise errors.UserError(
        f'data.resolution={side} is not a multiple of the {patch} pixels '
        f'that a token of {model_name} spans; '
        f'the nearest that fit: {", ".join(fits)}.'
      )


def _check_range(field, value, low, high):
  if value is None:
    return
  if value < low or (high is not None and value > high):
    bounds = f'at least {low}' if high is None else f'from {low} to {high}'
    raise errors.UserError(f'{field}={value} does not fit; it is {bounds}.')


def _check_position_embedding(model):
  kind, placement = model.position_embedding, model.position_placement
  if kind == 'relative' and placement == 'stem':
    raise errors.UserError(
      'model.position_embedding=relative works inside attention; '
      'model.position_placement=stem does not fit: every_layer or shared.'
    )


def _check_learning_rates(optimizer):
  peak, end = optimizer.learning_rate, optimizer.end_learning_rate
  if end > peak:
    raise errors.UserError(
      f'optimizer.end_learning_rate={end} is above '
      f'optimizer.learning_rate={peak}, from which the schedule decays.'
    )


def _check_patience(run):
  if run.patience is not None and not (run.keep_best and run.eval_every):
    raise errors.UserError(
      f'run.patience={run.patience} counts evaluations since the best step: it '
      'needs run.keep_best=true and a run.eval_every above 0; given: '
      f'{str(run.keep_best).lower()} and {run.eval_every}.'
    )


def _check_batch(field, batch_size, sizes, num_microbatches=1):
  shards = sizes['data'] * sizes['fsdp']
  divisor = shards * num_microbatches
  if batch_size is not None and batch_size % divisor:
    lower = batch_size // divisor * divisor
    fits = [str(fit) for fit in (lower, lower + divisor) if fit]
    times = f' times optimizer.accumulation_steps={num_microbatches}'
    raise errors.UserError(
      f'{field}={batch_size} does not divide over the {shards} devices of '
      f'mesh data x fsdp{times if num_microbatches > 1 else ""}; '
      f'the nearest that do: {", ".join(fits)}.'
    )
