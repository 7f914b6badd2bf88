import itertools
import threading

import pytest

from vit_jax.training.runtime import watchdog


@pytest.fixture
def ended(monkeypatch):
  """Times at which the run would have been ended."""
  times = []
  monkeypatch.setattr(watchdog, '_end', times.append)
  return times


class Dog(watchdog.Watchdog):
  """One that looks four times a second, of a clock that the test moves on."""

  def __init__(self, seconds, probe=lambda: 0):
    self.now = 1000.0
    super().__init__(seconds, probe, lambda: self.now)

  def pass_time(self, seconds):
    for _ in range(round(4 * seconds)):
      self.now += 0.25
      self.look()


def test_silence_ends_the_run(ended, wait_until):
  with watchdog.Watchdog(0.2, lambda: 0) as dog:
    dog.beat()
    wait_until(lambda: ended)
  assert ended[0] >= 0.2


def test_silence_is_no_end_before_its_time(ended):
  dog = Dog(2)
  dog.beat()
  dog.pass_time(2)
  assert not ended
  dog.pass_time(0.25)
  assert ended == [2]


def test_beating_keeps_it_going(ended):
  dog = Dog(4)
  for _ in dog.watch(range(20)):
    dog.pass_time(3)
  assert not ended


def test_what_the_probe_sees_is_life(ended):
  dog = Dog(3, itertools.count().__next__)
  dog.beat()
  dog.pass_time(30)
  assert not ended


def test_what_the_probe_has_seen_last_is_life_once(ended):
  sizes = [0]
  dog = Dog(2, lambda: sizes[-1])
  dog.beat()
  dog.pass_time(1.5)
  sizes.append(7)
  dog.pass_time(2)
  assert not ended
  dog.pass_time(1)
  assert ended


def test_patience_lasts_until_the_next_beat(ended):
  dog = Dog(2)
  dog.beat(watchdog.PATIENCE)
  dog.pass_time(2 * watchdog.PATIENCE)
  assert not ended
  dog.beat()
  dog.pass_time(2.25)
  assert ended


def test_slow_steps_make_it_patient(ended):
  dog = Dog(2)
  dog.beat()
  dog.pass_time(1.5)
  dog.beat()
  dog.pass_time(7.5)  # Five times as long.
  assert not ended
  dog.pass_time(0.25)
  assert ended == [7.5]


def test_zero_turns_it_off(ended):
  before = threading.active_count()
  with watchdog.Watchdog(0, lambda: 0) as dog:
    dog.beat()
    assert threading.active_count() <= before
  assert not ended
