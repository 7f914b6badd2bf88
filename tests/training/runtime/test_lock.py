import json
import os
import socket
import time
import types

import pytest

from vit_jax import errors
from vit_jax.training.runtime import lock as locks


def test_the_lock_is_held_once(tmp_path):
  with locks.RunLock(tmp_path):
    me = f'process {os.getpid()} on {socket.gethostname()}'
    with (
      pytest.raises(errors.UserError, match=f'is in use by {me}; wait'),
      locks.RunLock(tmp_path),
    ):
      pass
  told = []
  with locks.RunLock(tmp_path, told.append):
    pass
  assert told == []


def leave_behind(tmp_path, host):
  holder = {'host': host, 'pid': 7, 'beats': 3}
  (tmp_path / locks.FILE).write_text(json.dumps(holder))


def test_the_lock_of_a_dead_process_is_recovered(tmp_path):
  leave_behind(tmp_path, socket.gethostname())
  told = []
  with locks.RunLock(tmp_path, told.append):
    assert 'recovered the lock of process 7' in told[0]


@pytest.fixture
def sleeps(monkeypatch):
  """The seconds that were slept; no time passes but by sleeping."""
  slept = []
  monkeypatch.setattr(
    locks,
    'time',
    types.SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept)),
  )
  return slept


def test_the_lock_of_a_dead_machine_is_recovered(tmp_path, sleeps):
  leave_behind(tmp_path, 'elsewhere')
  told = []
  with locks.RunLock(tmp_path, told.append):
    assert 'checking if it is alive' in told[0]
    assert 'recovered the lock of process 7 on elsewhere' in told[1]
  assert sum(sleeps) >= 4 * locks.BEAT_SECONDS


@pytest.mark.parametrize('num_beats', [0, 1, 4])
def test_the_lock_of_a_living_machine_is_respected(
  tmp_path, monkeypatch, sleeps, num_beats
):
  """The first beat that is seen comes after so many were missed."""
  leave_behind(tmp_path, 'elsewhere')
  sleep = locks.time.sleep

  def sleep_beside_a_machine(seconds):
    sleep(seconds)
    if sum(sleeps) > num_beats * locks.BEAT_SECONDS:
      holder = {'host': 'elsewhere', 'pid': 7, 'beats': 4}
      (tmp_path / locks.FILE).write_text(json.dumps(holder))

  monkeypatch.setattr(locks.time, 'sleep', sleep_beside_a_machine)
  with (
    pytest.raises(errors.UserError, match='process 7 on elsewhere'),
    locks.RunLock(tmp_path, lambda _: None),
  ):
    pass


def test_the_holder_beats(tmp_path, monkeypatch, wait_until):
  monkeypatch.setattr(locks, 'BEAT_SECONDS', 0.02)
  with locks.RunLock(tmp_path) as lock:
    wait_until(lambda: lock._read()['beats'] > 1)
    holder = json.loads((tmp_path / locks.FILE).read_text())
  assert holder['beats'] > 1 and holder['pid'] == os.getpid()
  assert (tmp_path / locks.FILE).read_text() == ''


def test_a_lock_that_can_not_be_written_is_refused(tmp_path):
  (tmp_path / locks.FILE).mkdir()
  with (
    pytest.raises(errors.UserError, match=r'cannot be written .*own --workdir'),
    locks.RunLock(tmp_path),
  ):
    pass


def test_a_beat_that_fails_is_not_the_last(tmp_path, monkeypatch, wait_until):
  monkeypatch.setattr(locks, 'BEAT_SECONDS', 0.02)
  write, failures = locks.os.pwrite, iter([OSError, OSError])
  with locks.RunLock(tmp_path) as lock:

    def fail_twice(*args):
      for error in failures:
        raise error
      return write(*args)

    monkeypatch.setattr(locks.os, 'pwrite', fail_twice)
    wait_until(lambda: lock._read()['beats'] > 3)
  assert list(failures) == []


def test_who_looks_sees_whether_it_is_held_and_hinders_nobody(
  tmp_path, monkeypatch
):
  assert not locks.is_held(tmp_path) and not any(tmp_path.iterdir())
  with locks.RunLock(tmp_path):
    assert locks.is_held(tmp_path)
  assert not locks.is_held(tmp_path)
  leave_behind(tmp_path, 'elsewhere')
  assert locks.is_held(tmp_path)  # As far as one can see.
  path, old = tmp_path / locks.FILE, time.time() - 6 * locks.BEAT_SECONDS
  os.utime(path, (old, old))
  assert not locks.is_held(tmp_path)
  leave_behind(tmp_path, socket.gethostname())

  def gone(pid, signal):
    raise ProcessLookupError

  monkeypatch.setattr(locks.os, 'kill', gone)
  assert not locks.is_held(tmp_path)  # Killed a moment ago.
