"""Saving and restoring the state of a run, by orbax.

A run's checkpoints are in workdir/checkpoints/<step>/ (see `step_folder`). A
step is used only if it is what was saved, and an older one is removed only when
a newer one is complete.
"""

import contextlib
import math
import shutil
import threading
import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from vit_jax import errors, files
from vit_jax.checkpoints import best, manifest, orbax_stores, step_folder
from vit_jax.files import folders

MAX_FAILURES = 3  # Saves that fail in a row before the run stops.
_MAX_STEPS = 100  # That processes tell each other.
_MARKERS = (manifest.FILE, orbax_stores.WRITTEN)  # Of what is whole.


class SaveError(errors.UserError):
  """`MAX_FAILURES` saves in a row have failed."""


class CheckpointManager:
  """The checkpoints of one run; writes in the background.

  A context manager: leaving it waits for the last write. All processes of a run
  call its methods in the same order.
  """

  def __init__(
    self,
    directory,
    keep,
    say=print,
    read_only=False,
    keep_best=False,
    fence=lambda: None,
  ):
    """Opens the folder of the checkpoints.

    Args:
      directory: absolute path.
      keep: number of scheduled steps that stay, the newest ones.
      say: takes a line for the user about what has happened.
      read_only: nothing is created, written or tidied up.
      keep_best: whether the step of `mark_best` stays, too.
      fence: called before anything is committed or removed; raises if that is
        for another run to do.
    """
    self._directory = files.path(directory)
    self._keep = keep
    self._keep_best = keep_best
    self._fence = fence
    self._best = best.read(self._directory)
    self._marking = threading.Lock()
    self._say = say
    self._is_reader = read_only
    self._is_writer = jax.process_index() == 0 and not read_only
    self._checkpointer = None
    self._thread = None  # Finishes a save,
    self._error = None  # whose error it leaves here.
    self._step = None  # Of the save under way.
    self._num_failures = 0
    if self._is_writer:
      self._tidy()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._thread:
      self._thread.join()
      self._tell_failure()
    if self._checkpointer:
      with contextlib.suppress(Exception):  # That of the save, told above.
        self._checkpointer.close()

  # What there is ------------------------------------------------------------

  def steps(self):
    """Returns the steps that were saved to their end, the newest first."""
    return [
      step for step in self.folders() if manifest.is_committed(self._dir(step))
    ]

  def folders(self):
    """Returns the steps that orbax has written, whole or not, newest first."""
    if not self._directory.is_dir():
      return []
    names = (path.name for path in self._directory.iterdir())
    return sorted((int(n) for n in names if n.isdecimal()), reverse=True)

  def latest_step(self):
    """Returns the newest step that was saved to its end, or None."""
    return next(iter(self.steps()), None)

  def is_empty(self):
    """Returns whether nothing was ever saved here, damaged or not."""

    def found():
      is_there = self.folders() or any(self._directory.glob('*.damaged'))
      return [0] if is_there else []

    return not self._agreed(found)

  def scheduled_steps(self):
    """Returns the steps that a run without a break has saved too."""
    found = []
    for step in self.steps():
      with contextlib.suppress(manifest.Damaged):
        if manifest.facts(self._dir(step))['scheduled']:
          found.append(step)
    return found

  def last_scheduled_step(self):
    """Returns the newest of `scheduled_steps`, or None, the same to all."""
    return next(iter(self._agreed(lambda: self.scheduled_steps()[:1])), None)

  def _agreed(self, look):
    """Returns the steps that the first process sees: it commits and removes.

    Another one may not see yet what it has done, and would read or save other
    steps than the rest.

    Args:
      look: returns steps; only called where they count.
    """
    if self._is_reader or jax.process_count() == 1:
      return look()
    row = np.full(_MAX_STEPS, -1, np.int32)
    if jax.process_index() == 0:
      steps = look()[:_MAX_STEPS]
      row[: len(steps)] = steps
    row = multihost_utils.broadcast_one_to_all(row)
    return [step for step in row.tolist() if step >= 0]

  def num_bytes(self):
    """Returns how much is in the folder by now; a save makes it grow."""
    return sum(folders.walk(self._directory).values())

  # Saving ---------------------------------------------------------------------

  def check_room(self, abstract_state):
    """Raises UserError where the disk can't take one more checkpoint."""
    needed, free = _size(abstract_state), self._free()
    if free < needed:
      raise errors.UserError(
        f'{self._directory} has {free / 1e6:.0f} MB left and a checkpoint '
        f'takes up to {needed / 1e6:.0f} MB; make room or give a --workdir '
        'on another disk.'
      )
    total = (self._keep + 1 + self._keep_best) * needed
    if free < total:
      also = ' with run.keep_best=true' if self._keep_best else ''
      self._say(
        f'{self._directory} has {free / 1e6:.0f} MB left; '
        f'run.checkpoints_to_keep={self._keep}{also} takes up to '
        f'{total / 1e6:.0f} MB'
      )

  def save(self, step, state, record, scheduled=True):
    """Starts to write a step, once the save before it has ended.

    Args:
      step: number of the step; one that is there already is left as it is.
      state: tree of arrays; may be given away once this returns.
      record: anything JSON holds.
      scheduled: whether a run without a break saves this step too.

    Raises:
      UserError: a leaf is not finite or its copies differ.
      SaveError: a first failure is only told, by `poll`.
    """
    began = time.monotonic()
    self.wait()
    if (waited := time.monotonic() - began) > 1:
      self._say(
        f'step {step} had to wait {waited:.0f} s for the save before it'
      )
    if self._agreed(lambda: [step] if step in self.steps() else []):
      return
    self._step = step
    content = step_folder.content(
      {'step': step, 'scheduled': scheduled}, record, state
    )
    try:
      if self._checkpointer is None:
        self._checkpointer = orbax_stores.checkpointer(self._directory)
      self._checkpointer.save(
        orbax_stores.path(self._dir(step)),
        args=step_folder.save_args(state, content),
      )
    except Exception as error:  # Of any kind: told and tried again.
      self._error = error
    self._needed = _size(state)
    self._thread = threading.Thread(
      target=self._finish, args=(content['facts'],), daemon=True
    )
    self._thread.start()

  def poll(self):
    """Returns whether a save has failed and is to be repeated.

    Raises:
      SaveError: it's the last of `MAX_FAILURES` in a row.
    """
    if self._thread is None or self._thread.is_alive():
      return False
    self._thread = None
    return self._tell_failure()

  def wait(self):
    """Waits for the save under way, if there is one; else as `poll`."""
    if self._thread:
      self._thread.join()
    return self.poll()

  def finish(self, step, state, record, scheduled=True):
    """Writes a step and waits until it is on the disk, trying repeatedly.

    Raises:
      UserError: as `save`.
    """
    self.save(step, state, record, scheduled)
    while self.wait():
      self.save(step, state, record, scheduled)

  def mark_best(self, step, score):
    """Keeps a step that was given to `save`, in place of the best before it."""
    with self._marking:
      self._best = best.Best(step, score)
    self._write_best()
    if self._is_writer and not (self._thread and self._thread.is_alive()):
      self._prune()

  def _write_best(self):
    """Names the best step, once it's on the disk; else `_finish` does so."""
    with self._marking:
      found = self._best
      if found is None or not self._is_writer:
        return
      if not manifest.is_committed(self._dir(found.step)):
        return
      try:
        if best.read(self._directory) != found:
          best.write(self._directory, found)
      except OSError as error:  # The one before it is still there.
        self._say(f'{self._directory / best.FILE} cannot be written: {error}')

  def _finish(self, facts):
    """Runs in a thread: waits for orbax, seals the step, drops older ones."""
    try:
      self._checkpointer.wait_until_finished()
      if self._error:
        raise self._error
      if self._is_writer:
        self._fence()
        manifest.commit(self._dir(facts['step']), facts)
    except BaseException as error:  # Told by the next `poll`.
      self._error = error
      return
    self._write_best()
    if self._is_writer:
      self._prune()

  def _tell_failure(self):
    error, self._error = self._error, None
    if error is None:
      self._num_failures = 0
      return False
    with contextlib.suppress(Exception):  # orbax tells each thread once more.
      self._checkpointer.wait_until_finished()
    if self._is_writer:
      with contextlib.suppress(Exception):  # The next start does it.
        self._fence()
        self._tidy()
        if self._step not in self.steps():
          self._remove(self._dir(self._step))
    self._num_failures += 1
    message = (
      f'saving step {self._step} in {self._directory} failed: '
      f'{step_folder.first_line(error)} ({self._room()}a '
      f'checkpoint takes up to {self._needed / 1e6:.0f} MB); older checkpoints '
      'are untouched'
    )
    if self._num_failures == MAX_FAILURES:
      raise SaveError(
        f'{message}. It was attempt {MAX_FAILURES}: make room or give the '
        'folder its permissions back, and start again.'
      ) from error
    self._say(f'{message}; trying again')
    return True

  def _prune(self):
    scheduled = self.scheduled_steps()
    kept = {self.latest_step(), *scheduled[: self._keep]}
    for found in self._best, best.read(self._directory):
      kept |= {found.step} if found else set()
    try:
      for step in set(self.steps()) - kept:
        self._remove(self._dir(step))
    except OSError as error:  # The newer step is none the worse for it.
      self._say(f'an older checkpoint cannot be removed: {error}')

  def _free(self):
    """Returns the bytes that are free; those of a store know no end."""
    if files.is_remote(self._directory):
      return math.inf
    return shutil.disk_usage(_existing(self._directory)).free

  def _room(self):
    try:
      free = self._free()
    except OSError:
      return ''
    return f'{free / 1e6:.0f} MB are free, ' if math.isfinite(free) else ''

  def _tidy(self):
    """Removes what an earlier save or removal has left half done."""
    if files.is_remote(self._directory):
      self._tidy_store()
      return
    if not self._directory.is_dir():
      return
    for path in self._directory.iterdir():
      if 'orbax-checkpoint-tmp' in path.name:
        self._remove(path)
      elif path.suffix == '.removed':
        shutil.rmtree(path, ignore_errors=True)

  def _tidy_store(self):
    """As `_tidy`: where nothing is renamed, orbax marks what it has written."""
    for step in self.folders():
      path = self._dir(step)
      if not (manifest.is_committed(path) or orbax_stores.is_written(path)):
        self._remove(path)

  def _remove(self, path):
    """Removes a folder; from its first moment on it is no step any more."""
    if files.is_remote(path):
      folders.remove(path, first=_MARKERS)
      return
    if path.is_symlink():
      path.unlink()
      return
    if not path.exists():
      return
    renamed = path.with_name(f'{path.name}.removed')
    shutil.rmtree(renamed, ignore_errors=True)
    path.rename(renamed)
    shutil.rmtree(renamed, ignore_errors=True)

  # Restoring ------------------------------------------------------------------

  def restore(self, abstract_state, step=None):
    """Returns the newest state that is whole, or that of a given step.

    With it comes what was given to `save` as `record`.

    A newer step that is damaged is told and set aside, as <step>.damaged. One
    without a manifest, whose save was cut short at its very end, is given it if
    every leaf is what was saved.

    Args:
      abstract_state: a tree of `jax.ShapeDtypeStruct` with shardings; those the
        step was saved with don't matter.
      step: number of the step that it must be; None: the newest.

    Raises:
      UserError: there is none, none is whole, the given one is not, or it
        doesn't fit the given tree.
    """
    candidates = self._agreed(self.folders) if step is None else [step]
    if not candidates:
      raise errors.UserError(f'{self._directory} has no checkpoint.')
    problems = {}
    for candidate in candidates:
      try:
        state, content = step_folder.load(self._dir(candidate), abstract_state)
      except manifest.Damaged as error:
        problems[candidate] = error
        continue
      self._set_aside(problems)
      if self._is_writer and not manifest.is_committed(self._dir(candidate)):
        manifest.commit(self._dir(candidate), content['facts'])
      return state, content['record']
    listed = '\n'.join(f'  {n}: {error}' for n, error in problems.items())
    raise errors.UserError(
      f'No checkpoint in {self._directory} can be used:\n{listed}\n'
      'Put back an undamaged copy, or give a new --workdir to start from '
      'scratch.'
    )

  def _set_aside(self, problems):
    for step, problem in problems.items():
      path = self._dir(step)
      self._say(f'checkpoint {path} is not used: {problem}')
      if self._is_writer:
        self._remove(path.with_name(f'{step}.damaged'))
        folders.move(path, path.with_name(f'{step}.damaged'), _MARKERS)

  def _dir(self, step):
    return self._directory / str(step)


def _size(state):
  """Returns the bytes of all leaves."""
  return sum(
    leaf.size * getattr(leaf.dtype, 'itemsize', 8)
    for leaf in jax.tree.leaves(state)
  )


def _existing(path):
  """Returns the nearest folder above that exists."""
  return next(parent for parent in (path, *path.parents) if parent.exists())
