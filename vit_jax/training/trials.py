"""One run of a sweep, or its stored result if it has finished.

The result is a record in its evaluations.jsonl, with the digest of the
configuration: another configuration is another run.
"""

import math
import sys

from vit_jax import errors
from vit_jax.config import recipes
from vit_jax.evaluation import evaluate, records
from vit_jax.training import train
from vit_jax.training.runtime import preemption

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


def trained(folder, config):
  """Returns the accuracy of a run, trained unless it has finished."""
  known = _known(folder, config, METRIC)
  if known is not None:
    _say(f'{folder}: finished, {METRIC} {known:.4f}')
    return known
  _say(f'{folder}: running')
  try:
    value = train.run(config, folder)[METRIC]
  except preemption.Preempted as stopped:
    raise preemption.Preempted(
      f'{folder} was stopped and is saved. To resume: the same command.'
    ) from stopped
  _note(folder, config, METRIC, value)
  return value


def finished(folder, config):
  """Returns the accuracy of a run that has finished, else None."""
  return _known(folder, config, METRIC)


def _real(folder, config):
  """Returns the accuracy of a finished run on the reassessed labels."""
  trained(folder, config)
  known = _known(folder, config, REAL)
  if known is None:
    known = evaluate.run(folder, ('real',))[REAL]
    _note(folder, config, REAL, known)
  return known


MEASURES = {METRIC: trained, REAL: _real}


def _metadata(config):
  return {'finished': True, 'recipe': recipes.digest(config)}


def _note(folder, config, metric, value):
  records.append(
    folder / records.FILE,
    {**_metadata(config), 'evaluator': 'sweep', 'metric': metric},
    {metric: value},
  )


def _known(folder, config, metric):
  """Returns the recorded value of a run, or None."""
  metadata = {**_metadata(config), 'metric': metric}
  found = records.find(folder / records.FILE, metadata)
  return None if found is None else found[metric]


def _say(line):
  print(line, file=sys.stderr, flush=True)
