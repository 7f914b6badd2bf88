"""Validation of a configuration, before anything is built from it.

Choices by name are listed where their table is; `check_choices` takes them.
"""

import re

from vit_jax import errors
from vit_jax.config import model_names, schema

MAX_SIDE = 16_384  # Pixels.
# Of the patterns of a rule: so many characters and repetitions match any path
# in no time; repetitions of repetitions may take longer than the training.
MAX_PATTERN, MAX_REPEATS = 300, 4
MAX_RULES = 1_000
_RULES = ('decay_rules', 'learning_rate_rules', 'trainable_rules')
_PIECE = re.compile(r'\\.|\[\^?\]?(?:\\.|[^]\\])*\]|.', re.DOTALL)

_MANY = 1_000  # As an upper bound, none that one has to be told.

# Field: smallest, largest value that makes sense. A configuration may be of
# anybody's run, so that every number has both.
RANGES = {
  'seed': (0, 2**32 - 1),
  'model.width': (1, 65_536),
  'model.depth': (1, 1_000),
  'model.num_heads': (1, 4_096),
  'model.mlp_dim': (1, 1_000_000),
  'model.dropout': (0, 0.99),
  'model.drop_path': (0, 0.99),
  'model.head_bias': (-1e6, 1e6),
  'model.norm_epsilon': (1e-15, 0.1),
  'data.num_classes': (1, 1_000_000),
  'data.num_examples': (1, 10**9),
  'data.min_crop_area': (0.001, 1),
  'data.mixup': (0, 100),
  'data.cutmix': (0, 100),
  'data.random_erasing': (0, 1),
  'data.repeated_augmentation': (1, 1_000),
  'data.max_bad_fraction': (0, 1),
  'data.num_threads': (1, 1_024),
  'data.num_workers': (0, 1_024),
  'data.prefetch_batches': (1, 1_000),
  'objective.label_smoothing': (0, 1),
  'optimizer.learning_rate': (0, 1e6),
  'optimizer.warmup_steps': (0, 10**9),
  'optimizer.end_learning_rate': (0, 1e6),
  'optimizer.rsqrt_timescale': (1, 10**9),
  'optimizer.beta1': (0, 1),
  'optimizer.beta2': (0, 1),
  'optimizer.eps': (0, 1),
  'optimizer.momentum': (0, 1),
  'optimizer.weight_decay': (0, 1e6),
  'optimizer.clip_norm': (1e-9, 1e9),
  'optimizer.accumulation_steps': (1, 1_000_000),
  'optimizer.ema_decay': (0, 1),
  'optimizer.layer_decay': (1e-9, 1),
  'run.batch_size': (1, 10_000_000),
  'run.eval_batch_size': (1, 10_000_000),
  'run.num_epochs': (0, 1e6),
  'run.num_steps': (1, 10**9),
  'run.log_every': (1, 10**9),
  'run.peak_flops_per_device': (1, 9e15),
  'run.eval_every': (0, 10**9),
  'run.checkpoint_every': (0, 10**9),
  'run.checkpoints_to_keep': (1, 1_000_000),
  'run.patience': (1, 10**9),
  'run.max_consecutive_skips': (1, 10**9),
  'run.loss_spike_factor': (1, 1e9),
  'run.watchdog_seconds': (0, 1e7),
  'mesh.fsdp': (1, 1_000_000),
  'mesh.tensor': (1, 1_000_000),
}


def check_choices(config, choices):
  """Raises UserError where a field names an entry that its table lacks.

  Args:
    config: what `schema.default()` returns, with the user's values.
    choices: {field: table of choices, by name}.
  """
  for field, table in choices.items():
    known = table if isinstance(table, dict) else dict.fromkeys(table)
    errors.choose(field, schema.lookup(config, field), known)


def validate(config, num_devices):
  """Finds impossible or conflicting values, before anything is built.

  Args:
    config: what `schema.default()` returns, with the user's values.
    num_devices: number of devices that the run may use.

  Raises:
    UserError: names the field, what was given and what fits.
  """
  check_ranges(config)
  for name in _RULES:
    check_patterns(f'optimizer.{name}', config.optimizer[name])
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
  _check_profile(config.run)
  sizes = schema.mesh_sizes(config.mesh, num_devices)
  num_microbatches = config.optimizer.accumulation_steps
  _check_batch('run.batch_size', config.run.batch_size, sizes, num_microbatches)
  _check_batch('run.eval_batch_size', config.run.eval_batch_size, sizes)


def check_ranges(config):
  """Raises UserError where a number is outside of `RANGES`."""
  for field, bounds in RANGES.items():
    _check_range(field, schema.lookup(config, field), *bounds)


def check_model(model):
  """Raises UserError where a number of the part `model` is out of range."""
  for field, bounds in RANGES.items():
    group, _, name = field.partition('.')
    if group == 'model':
      _check_range(field, model[name], *bounds)


def check_patterns(field, rules):
  """Raises UserError for patterns of paths that might take for ever to match.

  Args:
    field: how the user calls the rules.
    rules: pairs (pattern, value).
  """
  if len(rules) > MAX_RULES:
    raise errors.UserError(
      f'{field} has {len(rules)} rules; no more than {MAX_RULES} fit.'
    )
  for pattern, *_ in rules:
    problem = _problem(pattern)
    if problem:
      raise errors.UserError(
        f'{field}={pattern!r} does not fit: {problem}. It is a pattern of '
        "paths such as '.*/kernel' or 'encoder/block_[0-5]/.*'."
      )


def _problem(pattern):
  """Returns why a pattern is none for a path, or None."""
  if len(pattern) > MAX_PATTERN:
    return f'it has over {MAX_PATTERN} characters'
  before, repeats = '', 0
  for piece in _PIECE.findall(pattern):
    if piece in ('*', '+', '{'):
      repeats += 1
      if before == ')':
        return 'it repeats a group'
    elif piece == '|':
      repeats = 0
    if repeats > MAX_REPEATS:
      return f'it repeats over {MAX_REPEATS} times'
    before = piece
  try:
    re.compile(pattern)
  except (re.error, OverflowError, RecursionError) as error:
    return str(error)
  return None


def check_warmup(optimizer, steps):
  """Raises UserError where the warm-up is longer than the training."""
  if optimizer.warmup_steps > steps:
    raise errors.UserError(
      f'optimizer.warmup_steps={optimizer.warmup_steps} is longer than the '
      f'training of {steps} steps; a tenth of it, {steps // 10}, is usual.'
    )


def check_resolution(resolution, model_name):
  """Raises UserError for a resolution that tokens do not cover exactly."""
  if (
    len(resolution) not in (1, 2)
    or min(resolution) < 1
    or max(resolution) > MAX_SIDE
  ):
    raise errors.UserError(
      f'data.resolution={resolution} is neither (side,) nor '
      f'(rows, columns), in pixels of 1 to {MAX_SIDE}.'
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
  if not low <= value <= high:
    is_open = value < low and high >= _MANY
    bounds = f'at least {low}' if is_open else f'from {low} to {high}'
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


def _check_profile(run):
  steps = tuple(run.profile_steps)
  if steps in ((), (0, 0)):
    return
  if len(steps) != 2 or not 1 <= steps[0] <= steps[1]:
    raise errors.UserError(
      f'run.profile_steps={steps} are not the first and the last step to '
      'profile, as (100, 110) are; (0, 0) are none.'
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
