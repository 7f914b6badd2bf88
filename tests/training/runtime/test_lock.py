import json
import os
import socket
import threading
import time

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


def test_the_lock_of_a_dead_machine_is_recovered(tmp_path, monkeypatch):
  monkeypatch.setattr(locks, 'BEAT_SECONDS', 0.05)
  leave_behind(tmp_path, 'elsewhere')
  told = []
  with locks.RunLock(tmp_path, told.append):
    assert 'waiting whether it is alive' in told[0]
    assert 'recovered the lock of process 7 on elsewhere' in told[1]


def test_the_lock_of_a_living_machine_is_respected(tmp_path, monkeypatch):
  monkeypatch.setattr(locks, 'BEAT_SECONDS', 0.1)
  leave_behind(tmp_path, 'elsewhere')

  def beat():
    time.sleep(0.15)
    holder = {'host': 'elsewhere', 'pid': 7, 'beats': 4}
    (tmp_path / locks.FILE).write_text(json.dumps(holder))

  thread = threading.Thread(target=beat)
  thread.start()
  with (
    pytest.raises(errors.UserError, match='process 7 on elsewhere'),
    locks.RunLock(tmp_path, lambda _: None),
  ):
    pass
  thread.join()


def test_the_holder_beats(tmp_path, monkeypatch):
  monkeypatch.setattr(locks, 'BEAT_SECONDS', 0.02)
  with locks.RunLock(tmp_path):
    time.sleep(0.3)
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


def test_a_beat_that_fails_is_not_the_last(tmp_path, monkeypatch):
  monkeypatch.setattr(locks, 'BEAT_SECONDS', 0.02)
  write, failures = locks.os.pwrite, iter([OSError, OSError])
  with locks.RunLock(tmp_path) as lock:

    def fail_twice(*args):
      for error in failures:
        raise error
      return write(*args)

    monkeypatch.setattr(locks.os, 'pwrite', fail_twice)
    time.sleep(0.3)
    assert lock._read()['beats'] > 3
