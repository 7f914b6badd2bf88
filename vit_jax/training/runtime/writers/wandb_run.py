"""Weights & Biases: a run of theirs for each run of ours.

The library is optional (extra `wandb`), and its own variables say where it
writes: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline and so on. Its files are
in the folder `wandb` of the run; `wandb sync` sends those of an offline run.
"""

import importlib.util
import json
import os
import secrets

from vit_jax import errors, files

FILE = 'wandb.json'  # The run of theirs, and what has been sent to it.
PROJECT = 'vit_jax'  # Where WANDB_PROJECT is not set.
_INSTALL = "pip install 'vit_jax[wandb]'"
_ORDER = ('train', 'eval')  # In which a step is logged.


def check():
  """Raises UserError where the library is not installed."""
  if importlib.util.find_spec('wandb') is None:
    raise errors.UserError(
      f'run.writers names wandb, which is not installed: {_INSTALL}, or leave '
      'it out.'
    )


class WandbRun:
  """A writer (see `writers`) of `train/loss`, `eval/accuracy`, ... by step.

  A resumed run continues the run of theirs whose id is in wandb.json. There is
  also the last step sent: what a run computes again after a kill is the same,
  bit for bit, and is not sent twice.

  Raises:
    UserError: on `start`: their run can't be started.
  """

  def __init__(self, run):
    self._ours = run
    self._theirs = None
    self._sent = (-1, 0)  # (step, place in _ORDER) of the last record.
    self._id = secrets.token_hex(8)
    self._is_failing = False

  def __enter__(self):
    return self

  def __exit__(self, *error):
    if self._theirs is not None:
      self._tolerant(self._theirs.finish, exit_code=int(error[0] is not None))

  def start(self, step, records):
    del step, records  # They have been sent.
    self._recall()
    import wandb  # Takes seconds, and looks at its environment.

    try:
      self._theirs = wandb.init(
        id=self._id,
        resume='allow',
        project=os.environ.get('WANDB_PROJECT', PROJECT),
        name=os.environ.get('WANDB_NAME', os.path.basename(self._ours.workdir)),
        config=self._ours.config,
        dir=str(self._ours.folder),
        settings=wandb.Settings(console='off', symlink=False, save_code=False),
      )
    except Exception as error:
      raise errors.UserError(
        f'Weights & Biases can not be started: {error} Run `wandb login`, set '
        'WANDB_MODE=offline, or leave wandb out of run.writers.'
      ) from error
    self._remember()

  def write(self, record):
    place = record['step'], _ORDER.index(record['split'])
    if place <= self._sent:
      return
    values = {
      f'{record["split"]}/{name}': value
      for name, value in record.items()
      if name not in ('step', 'split') and value is not None
    }
    if self._tolerant(self._theirs.log, values, step=record['step']):
      self._sent = place
      self._remember()

  def timings(self, step, values):
    if values and (step, 0) > self._sent:
      named = {f'train/{name}': value for name, value in values.items()}
      self._tolerant(self._theirs.log, named, step=step)

  def _recall(self):
    """Reads which run of theirs to continue; a file that is damaged is told."""
    path = self._ours.folder / FILE
    if not path.exists():
      return
    try:
      known = files.read_json(path)
      step, place = map(int, known['sent'])
      self._id, self._sent = str(known['id']), (step, place)
    except (OSError, ValueError, KeyError, TypeError) as error:
      self._ours.say(
        f'{path} is not readable ({error}): a new run is started at Weights & '
        'Biases'
      )

  def _remember(self):
    text = json.dumps({'id': self._id, 'sent': self._sent})
    self._tolerant(files.write_text, self._ours.folder / FILE, text)

  def _tolerant(self, function, *arguments, **options):
    """Returns whether it went well; what fails here is no reason to stop."""
    try:
      function(*arguments, **options)
      self._is_failing = False
      return True
    except Exception as error:  # Of a library that has its own kinds.
      if not self._is_failing:
        self._ours.say(
          f'Weights & Biases can not be written to ({error}); continuing'
        )
      self._is_failing = True
      return False
