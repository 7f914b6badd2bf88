"""One run per folder of a store."""

import json
import threading

import pytest

from vit_jax import errors, files
from vit_jax.training.runtime import lease, lock


class Clock:
  """Time that passes by sleeping alone; may do something meanwhile."""

  def __init__(self, meanwhile=lambda: None):
    self.seconds = 0.0
    self._meanwhile = meanwhile

  def now(self):
    return self.seconds

  def sleep(self, seconds):
    self.seconds += seconds
    self._meanwhile()


def hold(folder, say=print, clock=None):
  clock = clock or Clock()
  return lease.Lease(folder, say, clock.now, clock.sleep)


def leave_behind(folder, number=3, **facts):
  """Writes what a holder on another machine has left."""
  holder = {
    **{'host': 'elsewhere', 'machine': 'another', 'pid': 7, 'started': '1'},
    **{'token': 'x', 'beats': 2, 'is_released': False, **facts},
  }
  path = folder / lease.FOLDER / f'{number:08d}.json'
  files.write_text(path, json.dumps(holder))
  return path


def test_a_folder_is_held_once(folder):
  with lock.hold(folder) as held:
    assert isinstance(held, lease.Lease)
    held.check()

    def beat():
      held._holder['beats'] += 1
      files.write_text(held._path(held._number), held._text())

    with pytest.raises(errors.UserError, match='is in use by process'):
      hold(folder, clock=Clock(beat)).__enter__()
  told = []
  with hold(folder, told.append):
    assert told == []  # It was released.


def test_of_many_that_come_at_once_one_holds(folder, monkeypatch):
  """Late ones find the lock and see it beat."""
  monkeypatch.setattr(lease, 'BEAT_SECONDS', 0.1)
  held, refused, barrier = [], [], threading.Barrier(8)

  def come():
    one = lease.Lease(folder)
    barrier.wait()
    try:
      held.append(one.__enter__())
    except errors.UserError as error:
      refused.append(error)

  threads = [threading.Thread(target=come) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  for one in held:
    one.__exit__()
  assert len(held) == 1 and len(refused) == 7


def test_one_that_is_silent_is_gone(folder):
  leave_behind(folder)
  clock, told = Clock(), []
  with hold(folder, told.append, clock) as held:
    assert held._number == 4
  assert clock.seconds >= lease.EXPIRY_SECONDS
  assert 'recovered the lock of process 7 on elsewhere' in told[-1]


def test_one_that_beats_is_respected(folder):
  leave_behind(folder)
  beating = Clock(lambda: leave_behind(folder, beats=3))
  with pytest.raises(errors.UserError, match='in use by process 7 on elsewh'):
    hold(folder, clock=beating).__enter__()
  assert beating.seconds < lease.EXPIRY_SECONDS


def test_a_process_of_this_machine_that_ended_is_gone_at_once(folder):
  with hold(folder) as first:
    ended = {**first._holder, 'started': '1'}  # The same number, before.
  leave_behind(folder, first._number, **ended)
  clock = Clock()
  with hold(folder, lambda _: None, clock):
    assert clock.seconds == 0


def test_whoever_lost_the_folder_commits_nothing(folder):
  with hold(folder) as held:
    newer = leave_behind(folder, held._number + 1)
    with pytest.raises(errors.UserError, match='was taken by another run'):
      held.check()
    newer.unlink()  # Or its own heartbeat would end this process.
