"""One run of a sweep, or its stored result if it has finished.

The result is a record in its evaluations.jsonl, with the digest of the
configuration: another configuration is another run. Several processes may work
on a sweep: whoever makes a run, and measures it, holds its claim meanwhile.
"""

import math
import sys

from vit_jax import errors, files
from vit_jax.config import recipes
from vit_jax.evaluation import evaluate, records
from vit_jax.training import train
from vit_jax.training.runtime import lease, lock, preemption

HeldError = lease.HeldError  # Of a run that another process holds.
CLAIM = 'claim'  # Folder in that of a run; its lock is the claim.

METRIC = 'accuracy'  # By which to choose; larger is better.
REAL = 'real_accuracy'  # On ImageNet's reassessed labels.


def tried(folder, config):
  """Returns the accuracy of a trial, to choose by; nan where it diverges."""
  try:
    return trained(folder, config)
  except errors.DivergedError as error:
    _say(f'{folder}: {error}')
    _note(folder, config, METRIC, math.nan)
    return math.nan


def claimed(folder):
  """Returns a context that holds the claim of a run.

  Raises:
    HeldError: on entering: another process holds it.
  """
  place = files.path(folder) / CLAIM
  with files.reported(place):
    place.mkdir(parents=True, exist_ok=True)
  return lock.hold(place, _say)


def is_held(folder):
  """Returns whether another process seems to be at a run; see `lock`."""
  folder = files.path(folder)
  return lock.is_held(folder / CLAIM) or lock.is_held(folder)


def known(folder, config, metric):
  """Returns the recorded value of a run; nan: it has diverged; None: none."""
  metadata = {**_metadata(config), 'metric': metric}
  found = records.find(folder / records.FILE, metadata)
  return None if found is None else found[metric]


def trained(folder, config):
  """Returns the accuracy of a run, trained unless it has finished."""
  before = known(folder, config, METRIC)
  if before is not None:
    _say(f'{folder}: finished, {METRIC} {before:.4f}')
    return before
  _say(f'{folder}: running')
  try:
    value = train.run(config, folder)[METRIC]
  except preemption.Preempted as stopped:
    raise preemption.Preempted(
      f'{folder} was stopped and is saved. To resume: the same command.'
    ) from stopped
  _note(folder, config, METRIC, value)
  return value


def _real(folder, config):
  """Returns the accuracy of a finished run on the reassessed labels."""
  trained(folder, config)
  value = known(folder, config, REAL)
  if value is None:
    value = evaluate.run(folder, ('real',))[REAL]
    _note(folder, config, REAL, value)
  return value


MEASURES = {METRIC: trained, REAL: _real}


def _metadata(config):
  return {'finished': True, 'recipe': recipes.digest(config)}


def _note(folder, config, metric, value):
  records.append(
    folder / records.FILE,
    {**_metadata(config), 'evaluator': 'sweep', 'metric': metric},
    {metric: value},
  )


def _say(line):
  print(line, file=sys.stderr, flush=True)
