"""Applies the method that reproduces a number, and caches the result.

Results are recorded in workdir/cells.jsonl, by a digest of all that they depend
on, and reused.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
import statistics
import sys

from vit_jax import errors, files
from vit_jax.analysis import analyze
from vit_jax.config import recipes
from vit_jax.data import sources
from vit_jax.evaluation import evaluate, records
from vit_jax.paper import costs, inference_speed, methods
from vit_jax.training import sweep, train

FILE = 'cells.jsonl'
_METRICS = {'classification': 'accuracy', 'real': 'real_accuracy'}


@dataclasses.dataclass(frozen=True)
class Result:
  """The result of a method.

  Attributes:
    value: in the unit of the table; None: a plot, or nothing.
    deviation: standard deviation over seeds, or None.
    text: where the plot is, or what is missing.
    is_missing: whether it was asked for, could be had, and is not there.
    changed: see `costs.changed`.
  """

  value: float | None
  deviation: float | None = None
  text: str = ''
  is_missing: bool = False
  changed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Context:
  """The folder to work in, and the user's options.

  Attributes:
    workdir: folder of runs, plots and results; None: only what needs none.
    overrides: of fields of the fine-tuning, see `recipes.load`.
    images: input of the figures, see `analyze.run`; or None.
  """

  workdir: pathlib.Path | None = None
  overrides: tuple[str, ...] = ()
  images: str | list | None = None


def measure(method, context):
  """Returns the `Result` of a method, whose text names what is missing.

  Raises:
    Preempted: a signal has stopped the current run; it is saved.
  """
  if isinstance(method, methods.Computed):
    return Result(method.value())
  if isinstance(method, methods.Quoted):
    return Result(None, text=method.source)
  if isinstance(method, methods.Refused):
    return Result(None, text=f'refused: {method.reason}')
  if context.workdir is None:
    return _missing('ready: give --workdir=FOLDER')
  if isinstance(method, methods.Averaged):
    return _averaged(method, context)
  take = {
    methods.Evaluated: _evaluated,
    methods.Transferred: _transferred,
    methods.Drawn: _drawn,
    methods.Benchmarked: _benchmarked,
  }[type(method)]
  try:
    return take(method, context)
  except errors.UserError as error:
    return _missing(f'missing: {str(error).splitlines()[0]}')


def data_dir(overrides):
  """Returns the folder of data sets, which --config.data.data_dir may set."""
  return costs.load('configs/finetune/transfer.py', overrides).data.data_dir


def _missing(text):
  return Result(None, text=text, is_missing=True)


def _averaged(method, context):
  results = [measure(part, context) for part in method.parts]
  lacking = [result for result in results if result.value is None]
  if lacking:
    return lacking[0]
  changed = dict.fromkeys(text for result in results for text in result.changed)
  return Result(
    statistics.fmean(result.value for result in results),
    changed=tuple(changed),
  )


def _evaluated(method, context):
  metadata = {'way': dataclasses.asdict(method)}

  def compute():
    values = evaluate.run(
      checkpoint=method.checkpoint,
      evaluators=(method.evaluator,),
      dataset=method.dataset,
      data_dir=data_dir(context.overrides),
    )
    return {'value': 100 * values[_METRICS[method.evaluator]]}

  return _remembered(context, metadata, compute)


def _transferred(method, context):
  init = method.start
  if method.pretraining:
    pretraining = costs.load(
      method.pretraining, _where_it_runs(context.overrides)
    )
    init = str(_folder(context, method.pretraining, pretraining))
  recipe = recipes.with_knob(method.recipe, 'init', init)
  spec = recipes.from_folder(recipe)
  config = recipes.load(spec, context.overrides)
  changed = costs.changed(recipe, context.overrides)
  metadata = {
    'way': dataclasses.asdict(method),
    'recipe': recipes.digest(config),
    'grid': recipes.grid(spec),
  }

  def compute():
    for split in config.data.train_split, config.data.eval_split:
      sources.build(config.data, split)  # Missing data fail now, not in hours.
    if method.pretraining and config.init == init:
      train.run(pretraining, init)
    (row,) = sweep.run(
      spec,
      context.overrides,
      _folder(context, method.recipe, config),
      num_seeds=method.seeds,
      metric=_METRICS[method.evaluator],
    )
    return {
      'value': 100 * row['accuracy'],
      'deviation': 100 * row['accuracy_std'],
    }

  found = _remembered(context, metadata, compute)
  return dataclasses.replace(found, changed=changed)


def _drawn(method, context):
  if method.images and not context.images:
    return _missing('missing: --input=IMAGES')
  name = re.sub(r'\W+', '_', method.checkpoint)
  folder = context.workdir / 'figures' / name
  source = context.images if method.images else None
  status = analyze.run(method.kind, method.checkpoint, folder, source)
  if status:
    return _missing(f'plotted in {folder}, without images it could not read')
  return Result(None, text=f'plotted in {folder}')


def _benchmarked(method, context):
  del method
  folder = context.workdir / 'figures'
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'inference_speed.md'
  files.write_text(path, inference_speed.table())
  return Result(None, text=f'timed, in {path}')


def _remembered(context, metadata, compute):
  """Returns the `Result` of compute(), or the recorded one."""
  text = json.dumps(metadata, sort_keys=True)
  key = {'cell': hashlib.sha256(text.encode()).hexdigest()[:16]}
  path = context.workdir / FILE
  values = records.find(path, key)
  if values is None:
    print(f'computing {metadata["way"]}', file=sys.stderr, flush=True)
    values = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    code = {'code': records.code_version()}
    records.append(path, {**key, **metadata, **code}, values)
  return Result(values['value'], values.get('deviation'))


def _folder(context, recipe, config):
  """Returns the folder of the runs of a configuration, named after it."""
  name = re.sub(r'\W+', '_', recipe.removeprefix('configs/').replace('.py', ''))
  return context.workdir / 'runs' / f'{name}-{recipes.digest(config)[:8]}'


def _where_it_runs(overrides):
  """Returns the overrides that don't change what is computed."""
  free = {f'--config.{field}' for field in recipes.MAY_CHANGE}
  return tuple(text for text in overrides if text.partition('=')[0] in free)
