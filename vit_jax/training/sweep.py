"""Hyperparameters chosen on held-out examples, then the final runs.

ViT paper, section 4.1 and B.1.1: each value of a grid is trained on a part of
the training set and evaluated on the rest; the best one is trained on all of
it, from several seeds, and evaluated on the test set. Finished runs are reused,
and an interrupted one is resumed. All runs share this one process.
"""

import json
import math
import os
from typing import NamedTuple

import numpy as np
from ml_collections import config_dict

from vit_jax import errors, files
from vit_jax.config import grids, paths, recipes, schema, validation
from vit_jax.data import datasets, sources
from vit_jax.data.datasets import suites
from vit_jax.evaluation import metrics, registry
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, initialization, trials
from vit_jax.training.runtime import writers

FILE = 'sweep.json'
_METRIC = trials.METRIC
_OF_FILES = ('tfds', *paths.FILES)  # Sources that have a data set.


class Plan(NamedTuple):
  """The runs of one data set.

  Attributes:
    folder: of its runs.
    config: of the final run, except for what is chosen.
    settings: [{field: value}] to choose from.
    splits: (train, held-out) to choose on.
    seeds: of the final runs.
    metrics: names of the metrics reported for these.
  """

  folder: os.PathLike
  config: config_dict.ConfigDict
  settings: list
  splits: tuple
  seeds: range
  metrics: set

  def trials(self):
    """Returns [(folder, config)] of the runs to choose by."""
    if len(self.settings) == 1:
      return []
    made = []
    for setting in self.settings:
      config = grids.apply(self.config, setting)
      config.data.train_split, config.data.eval_split = self.splits
      made.append((self.folder / 'choosing' / grids.name(setting), config))
    return made

  def finals(self, setting):
    """Returns [(folder, config)] of the final runs."""
    made = []
    for seed in self.seeds:
      config = grids.apply(self.config, setting)
      config.seed = seed
      folder = self.folder / 'final' / grids.name(setting) / f'seed={seed}'
      made.append((folder, config))
    return made


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
  workdir = files.path(workdir).expanduser().absolute()
  rows = _rows(suite, metric)
  plans = {
    dataset: _plan(
      _with_dataset(spec, dataset),
      overrides,
      workdir / dataset.replace('/', '_'),
      sweep,
      num_seeds,
      held_out,
      {row.metric for row in rows if dataset in row.datasets},
    )
    for dataset in suites.datasets(rows)
  }
  for plan in plans.values():
    _check(plan)
  results = {dataset: _run_plan(plan) for dataset, plan in plans.items()}
  table = [_result(row, results) for row in rows]
  if suite is None:
    chosen = grids.apply(plans[''].config, table[0]['chosen'])
    table[0]['name'] = _name(chosen.data)
  files.write_text(workdir / FILE, json.dumps(table, indent=2) + '\n')
  return table


def rows(
  spec, overrides, workdir, sweep=(), num_seeds=1, suite=None, held_out=None
):
  """Returns the runs of a sweep, without starting any.

  Args: see `run`.

  Returns:
    A dict for each: its data set, stage ('choosing' or 'final'), setting, seed,
    accuracy, which is None unless it has finished, and folder. Of the final
    runs, setting and folder are None until the setting is chosen.
  """
  workdir = files.path(workdir).expanduser().absolute()
  listed = []
  for dataset in suites.datasets(_rows(suite, _METRIC)):
    folder = workdir / dataset.replace('/', '_')
    spec_of = _with_dataset(spec, dataset)
    listed += _listed(
      _plan(spec_of, overrides, folder, sweep, num_seeds, held_out, {_METRIC})
    )
  return listed


def _listed(plan):
  """Returns the rows of one data set, see `rows`."""
  listed = []

  def add(stage, setting, seed, folder, accuracy):
    listed.append(
      {
        'dataset': _name(plan.config.data),
        'stage': stage,
        'setting': setting,
        'seed': seed,
        'accuracy': accuracy,
        'folder': folder and str(folder),
      }
    )

  for setting, (folder, config) in zip(plan.settings, plan.trials()):
    accuracy = trials.finished(folder, config)
    add('choosing', setting, config.seed, folder, accuracy)
  accuracies = [row['accuracy'] for row in listed]
  if None in accuracies or (accuracies and all(map(math.isnan, accuracies))):
    for seed in plan.seeds:
      add('final', None, seed, None, None)
    return listed
  best = plan.settings[int(np.nanargmax(accuracies)) if accuracies else 0]
  for folder, config in plan.finals(best):
    accuracy = trials.finished(folder, config)
    add('final', best, config.seed, folder, accuracy)
  return listed


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
  """Returns the `Plan` of a recipe."""
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
  return Plan(folder, config, settings, splits, seeds, names)


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


def _run_plan(plan):
  """Returns the setting chosen, and {metric: value of each seed}."""
  best = plan.settings[0]
  tried = plan.trials()
  if tried:
    accuracies = [trials.tried(*each) for each in tried]
    if all(map(math.isnan, accuracies)):
      raise errors.DivergedError(
        f'Every run in {tried[0][0].parent} has diverged; try other values.'
      )
    best = plan.settings[int(np.nanargmax(accuracies))]
  finals = plan.finals(best)
  return best, {
    name: [trials.MEASURES[name](*each) for each in finals]
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
