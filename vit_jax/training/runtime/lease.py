"""One run per folder of an object store, which has no locks of a kernel.

Holders are numbered. Whoever creates the object of the next number, which a
store lets one alone do, holds the folder, and shows that it is alive by writing
it anew. One that has not been written for `EXPIRY_SECONDS` is of a run that is
gone. A run that had been taken for gone, and was not, sees the higher number
before it commits a checkpoint, and ends.
"""

import contextlib
import json
import os
import pathlib
import secrets
import socket
import sys
import threading
import time

from vit_jax import errors, files

FOLDER = 'lock'
BEAT_SECONDS = 5.0  # Between two heartbeats.
EXPIRY_SECONDS = 30.0  # Without one; more than a store's longest pause.
STATUS = 2  # Of a process whose folder another run has taken.

_FIELDS = ('host', 'machine', 'pid', 'started', 'token', 'beats', 'is_released')


class HeldError(errors.UserError):
  """Another process holds the folder of a run."""


def is_held(workdir):
  """Returns whether a process seems to hold a folder; see `lock.is_held`."""
  folder = workdir / FOLDER
  newest = max(_numbers(folder), default=0)
  if not newest:
    return False
  path = _path(folder, newest)
  holder = _read(path)
  if holder is None or holder['is_released'] or _is_gone(holder):
    return False
  try:
    return time.time() - path.stat().st_mtime < EXPIRY_SECONDS
  except FileNotFoundError:  # Of a number that has ended just now.
    return is_held(workdir)


class Lease:
  """A context that holds a folder.

  Args:
    workdir: `files.remote.RemotePath` of the run.
    say: takes a line for the user about what has happened.
    clock: returns the seconds.
    sleep: waits so many.
  """

  def __init__(
    self, workdir, say=print, clock=time.monotonic, sleep=time.sleep
  ):
    self._workdir = workdir
    self._folder = workdir / FOLDER
    self._say = say
    self._clock = clock
    self._sleep = sleep
    self._ended = threading.Event()
    self._holder = {
      'host': socket.gethostname(),
      **_identity(os.getpid()),
      'token': secrets.token_hex(8),
      'beats': 0,
      'is_released': False,
    }

  def __enter__(self):
    """Raises UserError where another run holds the folder, or writing fails."""
    with files.reported(self._folder):
      number = self._newest()
      if number:
        self._await_end(number)
      self._number = number + 1
      try:
        self._path(self._number).create(self._text().encode())
      except FileExistsError:
        self._refuse(self._read(self._number))
      for older in self._numbers():
        if older < self._number:
          self._path(older).unlink(missing_ok=True)
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self._thread.start()
    return self

  def __exit__(self, *_):
    self._ended.set()
    self._thread.join()
    self._holder['is_released'] = True
    with contextlib.suppress(OSError):  # It expires.
      if self._newest() == self._number:
        files.write_text(self._path(self._number), self._text())

  def check(self):
    """Raises UserError where another run has taken the folder since.

    Raises:
      OSError: the store can't be asked.
    """
    if self._newest() != self._number:
      raise errors.UserError(self._lost())

  def _lost(self):
    return (
      f'{self._workdir} was taken by another run, as this one had not been '
      f'heard of for {EXPIRY_SECONDS:.0f} s: nothing more is written. Keep '
      'one of the two.'
    )

  def _beat(self):
    while not self._ended.wait(BEAT_SECONDS):
      self._holder['beats'] += 1
      with contextlib.suppress(OSError):  # The next one may succeed.
        if self._newest() != self._number:
          print(f'vit_jax: error: {self._lost()}', file=sys.stderr, flush=True)
          os._exit(STATUS)
        files.write_text(self._path(self._number), self._text())

  def _await_end(self, number):
    """Returns once the holder of a number is known to be gone."""
    holder = self._read(number)
    if holder is None or holder['is_released']:
      return
    if not _is_gone(holder):
      self._say(
        f'{_name(holder)} held {self._workdir}: checking for '
        f'{EXPIRY_SECONDS:.0f} s if it is alive'
      )
      end = self._clock() + EXPIRY_SECONDS
      while self._clock() < end:
        self._sleep(BEAT_SECONDS / 2)
        seen = self._read(number)
        if seen != holder:
          if seen is not None and seen['is_released']:
            return
          self._refuse(seen)
    self._say(f'recovered the lock of {_name(holder)}, which is gone')

  def _refuse(self, holder):
    raise HeldError(
      f'{self._workdir} is in use by {_name(holder)}; wait for it to end, '
      'stop it, or give this run its own --workdir.'
    )

  def _numbers(self):
    return _numbers(self._folder)

  def _newest(self):
    return max(self._numbers(), default=0)

  def _path(self, number):
    return _path(self._folder, number)

  def _read(self, number):
    return _read(self._path(number))

  def _text(self):
    return json.dumps(self._holder)


def _numbers(folder):
  stems = (path.stem for path in folder.glob('*.json'))
  return [int(stem) for stem in stems if stem.isdecimal()]


def _path(folder, number):
  return folder / f'{number:08d}.json'


def _read(path):
  """Returns what a holder has written; None: it is gone, or says nothing."""
  try:
    holder = files.read_json(path)
    return {name: holder[name] for name in _FIELDS}
  except (FileNotFoundError, ValueError, KeyError, TypeError):
    return None


def _name(holder):
  if holder is None:
    return 'another process'
  return f'process {holder["pid"]} on {holder["host"]}'


def _identity(pid):
  """Returns what tells a process from all others: where, which, since when.

  Containers may share a host name, and number their processes alike.
  """
  with contextlib.suppress(OSError):
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    machine = f'{boot} {os.readlink("/proc/self/ns/pid")}'
    return {'machine': machine, 'pid': pid, 'started': _started(pid)}
  return {'machine': None, 'pid': pid, 'started': None}


def _started(pid):
  """Returns when a process of this machine started, in the kernel's ticks."""
  text = pathlib.Path(f'/proc/{pid}/stat').read_text()
  return text.rpartition(')')[2].split()[19]


def _is_gone(holder):
  """Returns whether a process is known to have ended; elsewhere, none is."""
  ours = _identity(os.getpid())
  if ours['machine'] is None or holder['machine'] != ours['machine']:
    return False
  try:
    return _started(int(holder['pid'])) != holder['started']
  except (OSError, ValueError, IndexError):
    return True
