"""One run per folder: two would overwrite each other's checkpoints."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import threading
import time

from vit_jax import errors, files
from vit_jax.training.runtime import lease

FILE = 'lock.json'
BEAT_SECONDS = 3.0  # Between two heartbeats in the file.
_LENGTH = 400  # Its constant size: overwriting needs no free disk space.


def hold(workdir, say=print):
  """Returns a context that holds the lock of a run's folder, on disk or not.

  It has `check`, which raises UserError where the lock was lost.

  Args:
    workdir: path; exists.
    say: takes a line for the user about what has happened.
  """
  workdir = files.path(workdir)
  make = lease.Lease if files.is_remote(workdir) else RunLock
  return make(workdir, say)


def is_held(workdir):
  """Returns whether a process seems to hold the lock of a run's folder.

  It only looks: nothing is written or locked, and nobody is waited for. A
  holder that was killed on another machine seems to hold it for a few seconds.

  Raises:
    OSError: the folder can't be read.
  """
  workdir = files.path(workdir)
  if files.is_remote(workdir):
    return lease.is_held(workdir)
  path = workdir / FILE
  try:
    holder = _parsed(files.read_bytes(path, 2 * _LENGTH))
    age = time.time() - path.stat().st_mtime
  except FileNotFoundError:
    return False
  if holder is None or age > 5 * BEAT_SECONDS:
    return False
  return holder['host'] != socket.gethostname() or _is_running(holder['pid'])


class RunLock:
  """A context that holds the lock of a folder.

  On one machine it is a kernel lock, which is released when the process ends,
  however it ends. Where machines share a disk but not their locks, the holder
  increments a heartbeat in the file; a lock without one is stale.

  Args:
    workdir: folder of the run; exists.
    say: takes a line for the user about what has happened.
  """

  def __init__(self, workdir, say=print):
    self._path = pathlib.Path(workdir) / FILE
    self._say = say
    self._ended = threading.Event()
    self._opened = self._file = None  # And its descriptor.

  def __enter__(self):
    """Raises UserError where another run holds the lock, or writing fails."""
    try:
      self._opened = files.opened_in_place(self._path, 'rb+')
    except OSError as error:
      raise errors.UserError(
        f'{self._path} cannot be written ({error.strerror}): does the run '
        'belong to someone else? Give this one its own --workdir.'
      ) from error
    self._file = self._opened.fileno()
    try:
      fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      self._refuse(self._read(), error)
    holder = self._read()
    if holder:  # It did not release the lock.
      elsewhere = holder['host'] != socket.gethostname()
      if elsewhere and self._is_beating(holder):
        self._refuse(holder)
      self._say(f'recovered the lock of {_name(holder)}, which is gone')
    os.ftruncate(self._file, 0)
    self._write(0)
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self._thread.start()
    return self

  def __exit__(self, *_):
    self._ended.set()
    self._thread.join()
    os.ftruncate(self._file, 0)
    self._opened.close()

  def check(self):
    """Does nothing: a kernel lock is not lost."""

  def _read(self):
    """Returns what the holder has written, or None."""
    return _parsed(os.pread(self._file, 2 * _LENGTH, 0))

  def _write(self, beats):
    holder = {'host': socket.gethostname(), 'pid': os.getpid(), 'beats': beats}
    os.pwrite(self._file, json.dumps(holder).ljust(_LENGTH).encode(), 0)

  def _beat(self):
    beats = 0
    while not self._ended.wait(BEAT_SECONDS):
      beats += 1
      with contextlib.suppress(OSError):  # The next one may succeed.
        self._write(beats)

  def _is_beating(self, holder):
    self._say(f'{_name(holder)} held this folder: checking if it is alive')
    end = time.monotonic() + 5 * BEAT_SECONDS
    while time.monotonic() < end:
      time.sleep(BEAT_SECONDS / 3)
      if self._read() not in (None, holder):
        return True
    return False

  def _refuse(self, holder, error=None):
    self._opened.close()
    raise lease.HeldError(
      f'{self._path.parent} is in use by {_name(holder)}; wait for it to end, '
      'stop it, or give this run its own --workdir.'
    ) from error


def _parsed(data):
  try:
    holder = files.parse_json(data)
    return {name: holder[name] for name in ('host', 'pid', 'beats')}
  except (ValueError, KeyError, TypeError):
    return None


def _is_running(pid):
  try:
    os.kill(int(pid), 0)
  except (ProcessLookupError, ValueError, TypeError, OverflowError):
    return False
  except PermissionError:
    pass
  return True


def _name(holder):
  if holder is None:
    return 'another process'
  return f'process {holder["pid"]} on {holder["host"]}'
