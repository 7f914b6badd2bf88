"""Goes the way to a number, and remembers where it led.

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
from vit_jax.training.runtime import agreement

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


def measure(way, bench):
  """Returns the `Result` of going a way; mistakes and lacks are told in it.

  Raises:
    Preempted: a signal has told the run under way to stop; it is saved.
  """
  if isinstance(way, methods.Computed):
    return Result(way.value())
  if isinstance(way, methods.Quoted):
    return Result(None, text=way.source)
  if isinstance(way, methods.Refused):
    return Result(None, text=f'refused: {way.reason}')
  if bench.workdir is None:
    return Result(None, text='ready: give --workdir=FOLDER')
  if isinstance(way, methods.Averaged):
    return _averaged(way, bench)
  take = {
    methods.Evaluated: _evaluated,
    methods.Transferred: _transferred,
    methods.Drawn: _drawn,
    methods.Benchmarked: _benchmarked,
  }[type(way)]
  try:
    return take(way, bench)
  except errors.UserError as error:
    return Result(None, text=f'missing: {str(error).splitlines()[0]}')


def data_dir(overrides):
  """Returns where data sets are, as --config.data.data_dir may say."""
  return costs.load('configs/finetune/transfer.py', overrides).data.data_dir


def _averaged(way, bench):
  results = [measure(part, bench) for part in way.parts]
  lacking = [result for result in results if result.value is None]
  if lacking:
    return lacking[0]
  return Result(statistics.fmean(result.value for result in results))


def _evaluated(way, bench):
  facts = {'way': dataclasses.asdict(way)}

  def compute():
    values = evaluate.run(
      checkpoint=way.checkpoint,
      evaluators=(way.evaluator,),
      dataset=way.dataset,
      data_dir=data_dir(bench.overrides),
    )
    return {'value': 100 * values[_METRICS[way.evaluator]]}

  return _remembered(bench, facts, compute)


def _transferred(way, bench):
  init = way.start
  if way.pretraining:
    pretraining = costs.load(way.pretraining, _where_it_runs(bench.overrides))
    init = str(_folder(bench, way.pretraining, pretraining))
  spec = f'{costs.ROOT / way.recipe},init={init}'
  config = recipes.load(spec, bench.overrides)
  facts = {
    'way': dataclasses.asdict(way),
    'recipe': recipes.digest(config),
    'grid': recipes.grid(spec),
  }

  def compute():
    for split in config.data.train_split, config.data.eval_split:
      sources.build(config.data, split)  # What is missing is told before hours.
    if way.pretraining:
      train.run(pretraining, init)
    (row,) = sweep.run(
      spec,
      bench.overrides,
      _folder(bench, way.recipe, config),
      num_seeds=way.seeds,
      metric=_METRICS[way.evaluator],
    )
    return {
      'value': 100 * row['accuracy'],
      'deviation': 100 * row['accuracy_std'],
    }

  return _remembered(bench, facts, compute)


def _drawn(way, bench):
  if way.images and not bench.images:
    return Result(None, text='missing: --input=IMAGES to look at')
  name = re.sub(r'\W+', '_', way.checkpoint)
  folder = bench.workdir / 'figures' / name
  source = bench.images if way.images else None
  analyze.run(way.kind, way.checkpoint, folder, source)
  return Result(None, text=f'drawn in {folder}')


def _benchmarked(way, bench):
  del way
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
    code = {'code': agreement.code_version()}
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
