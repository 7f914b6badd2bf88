"""The runs of a sweep as a list of numbered tasks, which processes share.

First come the trials of all data sets, then their final runs. What number K is
depends on the grid alone, not on what is done: of a final run, the trials
decide later which setting it has. A task is made by whoever holds its claim
(see `trials`); all others find its result.
"""

import math
import os
import re
from typing import NamedTuple

import numpy as np
from ml_collections import config_dict

from vit_jax import errors, files
from vit_jax.config import grids, recipes
from vit_jax.training import trials

CHOOSING, FINAL = 'choosing', 'final'  # Stages, and folders.
# States of a task. A final run waits until all trials of its data set are done;
# one that is busy is held by another process.
WAITING, MISSING, UNFINISHED = 'waiting', 'missing', 'unfinished'
BUSY, DONE = 'busy', 'done'


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
      made.append((self.folder / CHOOSING / grids.name(setting), config))
    return made

  def finals(self, setting):
    """Returns [(folder, config)] of the final runs."""
    made = []
    for seed in self.seeds:
      config = grids.apply(self.config, setting)
      config.seed = seed
      folder = self.folder / FINAL / grids.name(setting) / f'seed={seed}'
      made.append((folder, config))
    return made

  def chosen(self):
    """Returns the setting of the best trial; None: not all trials are done.

    Raises:
      DivergedError: all trials have diverged.
    """
    tried = self.trials()
    if not tried:
      return self.settings[0]
    accuracies = [trials.known(*each, trials.METRIC) for each in tried]
    if None in accuracies:
      return None
    if all(map(math.isnan, accuracies)):
      raise errors.DivergedError(
        f'Every run in {tried[0][0].parent} has diverged; try other values.'
      )
    return self.settings[int(np.nanargmax(accuracies))]


class Task(NamedTuple):
  """One run of a sweep.

  Attributes:
    number: in the list, from 0.
    stage: CHOOSING or FINAL.
    place: among the trials or the final runs of its data set.
    plan: the `Plan` of its data set.
  """

  number: int
  stage: str
  place: int
  plan: Plan

  def run(self):
    """Returns (folder, config); None: the trials have not decided yet.

    Raises:
      DivergedError: all trials have diverged.
    """
    if self.stage == CHOOSING:
      return self.plan.trials()[self.place]
    setting = self.plan.chosen()
    return None if setting is None else self.plan.finals(setting)[self.place]

  def settings(self):
    """Returns {field: value} of what tells it from others, as far as known."""
    if self.stage == CHOOSING:
      return self.plan.settings[self.place]
    setting = self.plan.chosen() or {}
    return {**setting, 'seed': self.plan.seeds[self.place]}

  def is_done(self):
    run = self.run()
    if run is None:
      return False
    wanted = self.plan.metrics if self.stage == FINAL else {trials.METRIC}
    return all(trials.known(*run, metric) is not None for metric in wanted)

  def state(self):
    """Returns a state, the first that is true of DONE, WAITING, BUSY, ..."""
    run = self.run()
    if run is None:
      return WAITING
    if self.is_done():
      return DONE
    folder, _ = run
    if trials.is_held(folder):
      return BUSY
    begun = files.exists(folder / recipes.FILE)
    return UNFINISHED if begun else MISSING

  def attempt(self):
    """Makes the run, unless it is done, and returns its state then.

    Returns:
      DONE; BUSY: another process is at it; or WAITING.

    Raises:
      UserError: it fails, or all trials have diverged.
      Preempted: a signal has stopped it; it is saved.
    """
    run = self.run()
    if run is None or self.is_done():
      return WAITING if run is None else DONE
    folder, _ = run
    if trials.is_held(folder):
      return BUSY
    try:
      with trials.claimed(folder):
        self._measure(*run)
    except trials.HeldError:
      return BUSY
    return DONE

  def _measure(self, folder, config):
    if self.stage == CHOOSING:
      trials.tried(folder, config)
      return
    for metric in self.plan.metrics:
      trials.MEASURES[metric](folder, config)


def of(plans):
  """Returns the list of all tasks of some plans."""
  rows = [
    (CHOOSING, place, plan)
    for plan in plans
    for place in range(len(plan.trials()))
  ]
  rows += [
    (FINAL, place, plan) for plan in plans for place in range(len(plan.seeds))
  ]
  return [Task(number, *row) for number, row in enumerate(rows)]


def find(tasks, name):
  """Returns the task of a name: its number, or of its stage, as 'final:2'.

  Raises:
    UserError: there is none.
  """
  match = re.fullmatch(rf'(?:({CHOOSING}|{FINAL}):)?(\d{{1,9}})', name)
  if match is None:
    raise errors.UserError(
      f'--task={name} does not fit; write a number of --list, as --task=3, or '
      f'one of a stage, as --task={CHOOSING}:3 or --task={FINAL}:0.'
    )
  stage, number = match[1], int(match[2])
  among = [task for task in tasks if stage in (None, task.stage)]
  if number >= len(among):
    what = f'{stage} tasks' if stage else 'tasks'
    last = f'0 to {len(among) - 1}' if among else 'none'
    raise errors.UserError(
      f'--task={name}: there are {len(among)} {what}, {last}.'
    )
  return among[number]
