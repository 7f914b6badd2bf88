"""Applies the method that reproduces a number, and remembers the result.

A number that was had once is in workdir/cells.jsonl, found by a digest of all
that it depends on, and is not computed again.
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
  """What came out.

  Attributes:
    value: in the unit of the table; None: a picture, or nothing.
    deviation: over seeds, or None.
    text: where the picture is, or what is missing.
  """

  value: float | None
  deviation: float | None = None
  text: str = ''


@dataclasses.dataclass(frozen=True)
class Bench:
  """Where to work, and what the user wants otherwise than the recipes.

  Attributes:
    workdir: folder of runs, pictures and results; None: only what needs none.
    overrides: of fields of the fine-tuning, as of `recipes.load`.
    images: what figures are drawn of, as of `analyze.run`; or None.
  """

  workdir: pathlib.Path | None = None
  overrides: tuple[str, ...] = ()
  images: str | None = None


def measure(method, bench):
  """Returns the `Result` of a method; mistakes and lacks are told in it.

  Raises:
    Preempted: a signal has told the run under way to stop; it is saved.
  """
  if isinstance(method, methods.Computed):
    return Result(method.value())
  if isinstance(method, methods.Quoted):
    return Result(None, text=method.source)
  if isinstance(method, methods.Refused):
    return Result(None, text=f'refused: {method.reason}')
  if bench.workdir is None:
    return Result(None, text='ready: give --workdir=FOLDER')
  if isinstance(method, methods.Averaged):
    return _averaged(method, bench)
  take = {
    methods.Evaluated: _evaluated,
    methods.Transferred: _transferred,
    methods.Drawn: _drawn,
    methods.Benchmarked: _benchmarked,
  }[type(method)]
  try:
    return take(method, bench)
  except errors.UserError as error:
    return Result(None, text=f'missing: {str(error).splitlines()[0]}')


def data_dir(overrides):
  """Returns where data sets are, as --config.data.data_dir may say."""
  return costs.load('configs/finetune/transfer.py', overrides).data.data_dir


def _averaged(method, bench):
  results = [measure(part, bench) for part in method.parts]
  lacking = [result for result in results if result.value is None]
  if lacking:
    return lacking[0]
  return Result(statistics.fmean(result.value for result in results))


def _evaluated(method, bench):
  facts = {'way': dataclasses.asdict(method)}

  def compute():
    values = evaluate.run(
      checkpoint=method.checkpoint,
      evaluators=(method.evaluator,),
      dataset=method.dataset,
      data_dir=data_dir(bench.overrides),
    )
    return {'value': 100 * values[_METRICS[method.evaluator]]}

  return _remembered(bench, facts, compute)


def _transferred(method, bench):
  init = method.start
  if method.pretraining:
    pretraining = costs.load(
      method.pretraining, _where_it_runs(bench.overrides)
    )
    init = str(_folder(bench, method.pretraining, pretraining))
  spec = recipes.from_folder(f'{method.recipe},init={init}')
  config = recipes.load(spec, bench.overrides)
  facts = {
    'way': dataclasses.asdict(method),
    'recipe': recipes.digest(config),
    'grid': recipes.grid(spec),
  }

  def compute():
    for split in config.data.train_split, config.data.eval_split:
      sources.build(config.data, split)  # What is missing is told before hours.
    if method.pretraining:
      train.run(pretraining, init)
    (row,) = sweep.run(
      spec,
      bench.overrides,
      _folder(bench, method.recipe, config),
      num_seeds=method.seeds,
      metric=_METRICS[method.evaluator],
    )
    return {
      'value': 100 * row['accuracy'],
      'deviation': 100 * row['accuracy_std'],
    }

  return _remembered(bench, facts, compute)


def _drawn(method, bench):
  if method.images and not bench.images:
    return Result(None, text='missing: --input=IMAGES to look at')
  name = re.sub(r'\W+', '_', method.checkpoint)
  folder = bench.workdir / 'figures' / name
  source = bench.images if method.images else None
  analyze.run(method.kind, method.checkpoint, folder, source)
  return Result(None, text=f'drawn in {folder}')


def _benchmarked(method, bench):
  del method
  folder = bench.workdir / 'figures'
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'inference_speed.md'
  files.write_text(path, inference_speed.table())
  return Result(None, text=f'timed, in {path}')


def _remembered(bench, facts, compute):
  """Returns the `Result` of compute(), or what it once was."""
  text = json.dumps(facts, sort_keys=True)
  key = {'cell': hashlib.sha256(text.encode()).hexdigest()[:16]}
  path = bench.workdir / FILE
  values = records.find(path, key)
  if values is None:
    print(f'computing {facts["way"]}', file=sys.stderr, flush=True)
    values = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    code = {'code': records.code_version()}
    records.append(path, {**key, **facts, **code}, values)
  return Result(values['value'], values.get('deviation'))


def _folder(bench, recipe, config):
  """Returns the folder of the runs of a configuration, of which it tells."""
  name = re.sub(r'\W+', '_', recipe.removeprefix('configs/').replace('.py', ''))
  return bench.workdir / 'runs' / f'{name}-{recipes.digest(config)[:8]}'


def _where_it_runs(overrides):
  """Returns the overrides that don't change what is computed."""
  free = {f'--config.{field}' for field in recipes.MAY_CHANGE}
  return tuple(text for text in overrides if text.partition('=')[0] in free)
