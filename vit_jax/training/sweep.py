"""Hyperparameters chosen on held-out examples, then the final runs.

ViT paper, section 4.1 and B.1.1: each value of a grid is trained on a part of
the training set and evaluated on the rest; the best one is trained on all of
it, from several seeds, and evaluated on the test set. Finished runs are reused,
and an interrupted one is resumed. Several processes may work on one sweep: each
makes the runs that no other one holds (see `tasks`), and all end with the same
table; or a scheduler starts a process for each run.
"""

import json
import sys
import time

import numpy as np

from vit_jax import errors, files
from vit_jax.config import grids, paths, recipes, schema, validation
from vit_jax.data import datasets, sources
from vit_jax.data.datasets import suites
from vit_jax.evaluation import metrics, registry
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, initialization, tasks, trials
from vit_jax.training.runtime import writers

FILE = 'sweep.json'
POLL_SECONDS = 5.0  # Between two looks at runs that other processes hold.
_METRIC = trials.METRIC
_MAX_TOLD = 3  # Folders, in a line.
_SAID = {
  tasks.DONE: 'done',
  tasks.BUSY: 'another process is at it; left to that one',
  tasks.WAITING: 'some trials of its data set are not done, and decide its '
  'settings: start it again when they are',
}
_OF_FILES = ('tfds', *paths.FILES)  # Sources that have a data set.


def run(
  spec,
  overrides,
  workdir,
  sweep=(),
  num_seeds=1,
  suite=None,
  held_out=None,
  metric=_METRIC,
):
  """Runs what is left of a sweep, and returns its results.

  Args:
    spec, overrides: see `recipes.load`.
    workdir: folder for a folder of each run, and the results.
    sweep: texts, see `grids.parse`; (): the grid of the recipe's `get_grid`.
    num_seeds: final runs, whose seeds count up from that of the recipe.
    suite: name of `suites.SUITES`, each of whose data sets is given to the
      recipe's knob `dataset`; None: one data set, the recipe's.
    held_out: per cent of the training set to choose on; None: see
      `datasets.choosing`.
    metric: of `trials.MEASURES`, to report for the one data set; a suite has
      its own.

  Returns:
    [{'name': row, 'chosen': {field: value}, 'accuracy': mean over seeds,
      'accuracy_std': ...}], which is also in workdir/sweep.json.

  Raises:
    UserError: a configuration or data set is invalid, before the first run.
    Preempted: a signal has stopped the current run; it is saved.
  """
  rows = _rows(suite, metric)
  plans = _plans(spec, overrides, workdir, sweep, num_seeds, held_out, rows)
  for plan in plans.values():
    _check(plan)
  _work(tasks.of(plans.values()))
  table = _table(plans, rows, suite)
  files.write_text(
    _absolute(workdir) / FILE, json.dumps(table, indent=2) + '\n'
  )
  return table


def run_task(
  name,
  spec,
  overrides,
  workdir,
  sweep=(),
  num_seeds=1,
  suite=None,
  held_out=None,
  metric=_METRIC,
):
  """Makes one run of a sweep, unless it is done or another process is at it.

  Args:
    name: of the task; see `tasks.find`.
    spec, overrides, workdir, sweep, num_seeds, suite, held_out, metric: as for
      `run`.

  Returns:
    Its state then: `tasks.DONE`, `tasks.BUSY` or, of a final run some of whose
    trials are not done, `tasks.WAITING`; and a line on it.

  Raises:
    UserError, Preempted: as `run`.
  """
  rows = _rows(suite, metric)
  plans = _plans(spec, overrides, workdir, sweep, num_seeds, held_out, rows)
  task = tasks.find(tasks.of(plans.values()), name)
  if trials.REAL in task.plan.metrics:
    registry.fetch_real_labels()
  state = task.attempt()
  return state, f'task {task.number} ({task.stage}): {_SAID[state]}'


def listing(
  spec,
  overrides,
  workdir,
  sweep=(),
  num_seeds=1,
  suite=None,
  held_out=None,
  metric=_METRIC,
):
  """Returns the tasks of a sweep, making none; arguments as for `run`.

  Returns:
    [{'number', 'stage', 'state', 'settings': {field: value}, 'dataset',
    'folder': None while the trials have not decided it}].
  """
  rows = _rows(suite, metric)
  plans = _plans(spec, overrides, workdir, sweep, num_seeds, held_out, rows)
  names = {id(plan): name for name, plan in plans.items()}
  found = []
  for task in tasks.of(plans.values()):
    known = task.run()
    found.append(
      {
        'number': task.number,
        'stage': task.stage,
        'state': task.state(),
        'settings': task.settings(),
        'dataset': names[id(task.plan)] or _name(task.plan.config.data),
        'folder': None if known is None else str(known[0]),
      }
    )
  return found


def text(table):
  """Returns a Markdown table of what `run` returns, in per cent."""
  lines = ['| data set | chosen | accuracy |', '|---|---|---|']
  for row in table:
    chosen = ', '.join(
      f'{name}={value}' for name, value in row['chosen'].items()
    )
    number = f'{100 * row[_METRIC]:.2f}'
    if f'{_METRIC}_std' in row:
      number += f' ± {100 * row[f"{_METRIC}_std"]:.2f}'
    lines.append(f'| {row["name"]} | {chosen} | {number} |')
  return '\n'.join(lines)


# The plan -------------------------------------------------------------------


def _absolute(workdir):
  return files.path(workdir).expanduser().absolute()


def _plans(spec, overrides, workdir, sweep, num_seeds, held_out, rows):
  """Returns {data set: its `tasks.Plan`}; '': that of the recipe."""
  return {
    dataset: _plan(
      _with_dataset(spec, dataset),
      overrides,
      _absolute(workdir) / dataset.replace('/', '_'),
      sweep,
      num_seeds,
      held_out,
      {row.metric for row in rows if dataset in row.datasets},
    )
    for dataset in suites.datasets(rows)
  }


def _rows(suite, metric):
  if suite is None:
    return (suites.Row('', ('',), metric),)
  return errors.choose('suite', suite, suites.SUITES)


def _name(data):
  """Returns the data set, as the configuration names it; or its generator."""
  return data.dataset if data.source in _OF_FILES else data.source


def _with_dataset(spec, dataset):
  """Returns the recipe with its knob `dataset` set; '': unchanged."""
  if not dataset:
    return spec
  return recipes.with_knob(spec, 'dataset', dataset)


def _plan(spec, overrides, folder, sweep, num_seeds, held_out, names):
  """Returns the `tasks.Plan` of a recipe."""
  config = recipes.load(spec, overrides)
  grid = grids.parse(sweep) if sweep else recipes.grid(spec)
  grids.check_overrides(grid, overrides)
  if not grid and num_seeds == 1:
    raise errors.UserError(
      f'There is nothing to sweep: {spec} has no function get_grid. Give '
      '--sweep=FIELD=VALUE,VALUE, or --seeds=3.'
    )
  settings = grids.combinations(grid)
  splits = ()
  if len(settings) > 1:
    data = config.data.copy_and_resolve_references()
    data.train_split = sources.training_split(config.data)
    splits = datasets.choosing(data, held_out)
  seeds = range(config.seed, config.seed + num_seeds)
  return tasks.Plan(folder, config, settings, splits, seeds, names)


def _check(plan):
  """Finds what can't work, before the first run of a sweep."""
  if trials.REAL in plan.metrics:
    registry.fetch_real_labels()
  num_devices = len(meshes.devices())
  finals = [run for each in plan.settings for run in plan.finals(each)]
  lengths = {}

  def length(data, split):
    place = data.source, data.dataset, data.data_dir, split
    if place not in lengths:
      lengths[place] = len(sources.build(data, split))
    return lengths[place]

  for folder, config in plan.trials() + finals:
    assembly.validate(config, num_devices)
    writers.check(config.run.writers)
    if (folder / recipes.FILE).exists():
      recipes.check_same(config, folder)
    length(config.data, config.data.eval_split)  # It exists.
    num_examples = length(config.data, config.data.train_split)
    num_steps = schema.num_steps(config.run, num_examples)
    validation.check_warmup(config.optimizer, num_steps)
    initialization.check(config, folder)


# Running --------------------------------------------------------------------


def _work(pending):
  """Makes all runs; those that other processes are at are returned to later.

  A run whose process is killed is free again, and is resumed.
  """
  is_told = False
  plans = [id(task.plan) for task in pending]
  # Data set by data set: a final run follows the trials of its own.
  pending = sorted(pending, key=lambda task: plans.index(id(task.plan)))
  while pending:
    states = [(task, task.attempt()) for task in pending]
    left = [task for task, state in states if state != tasks.DONE]
    held = [task.run() for task, state in states if state == tasks.BUSY]
    if len(left) == len(pending):
      if held and not is_told:
        folders = ', '.join(str(folder) for folder, _ in held[:_MAX_TOLD])
        _say(f'waiting for what other processes are at: {folders}')
        is_told = True
      time.sleep(POLL_SECONDS)
    pending = left


def _table(plans, rows, suite):
  results = {dataset: _measured(plan) for dataset, plan in plans.items()}
  table = [_result(row, results) for row in rows]
  if suite is None:
    chosen = grids.apply(plans[''].config, table[0]['chosen'])
    table[0]['name'] = _name(chosen.data)
  return table


def _measured(plan):
  """Returns the setting chosen, and {metric: value of each seed}."""
  best = plan.chosen()
  finals = plan.finals(best)
  return best, {
    name: [trials.known(*each, name) for each in finals]
    for name in plan.metrics
  }


def _result(row, results):
  """Returns a row of the results."""
  by_dataset = [results[name][1][row.metric] for name in row.datasets]
  by_seed = [float(np.mean(each)) for each in zip(*by_dataset)]
  several = len(row.datasets) > 1
  return {
    'name': row.name,
    'chosen': {} if several else results[row.datasets[0]][0],
    **metrics.over_seeds(_METRIC, by_seed),
    'seeds': by_seed,
  }


def _say(line):
  print(line, file=sys.stderr, flush=True)
