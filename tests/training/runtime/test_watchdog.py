import time

import pytest

from vit_jax.training.runtime import watchdog


@pytest.fixture
def ended(monkeypatch):
  """Times at which the run would have been ended."""
  times = []
  monkeypatch.setattr(watchdog, '_end', times.append)
  return times


def test_silence_ends_the_run(ended):
  with watchdog.Watchdog(0.2, lambda: 0) as dog:
    dog.beat()
    time.sleep(0.6)
  assert ended


def test_beating_keeps_it_going(ended):
  with watchdog.Watchdog(0.4, lambda: 0) as dog:
    for _ in dog.watch(range(20)):
      time.sleep(0.04)
  assert not ended


def test_what_the_probe_sees_is_life(ended):
  with watchdog.Watchdog(0.3, time.monotonic) as dog:
    dog.beat()
    time.sleep(0.9)
  assert not ended


def test_patience_lasts_until_the_next_beat(ended):
  with watchdog.Watchdog(0.2, lambda: 0) as dog:
    dog.beat(watchdog.PATIENCE)
    time.sleep(0.6)
    assert not ended
    dog.beat()
    time.sleep(0.6)
  assert ended


def test_slow_steps_make_it_patient(ended):
  with watchdog.Watchdog(0.2, lambda: 0) as dog:
    dog.beat()
    time.sleep(0.15)
    dog.beat()
    time.sleep(0.5)  # Less than five times as long.
    dog.beat()
  assert not ended


def test_zero_turns_it_off(ended):
  with watchdog.Watchdog(0, lambda: 0) as dog:
    dog.beat()
    time.sleep(0.1)
  assert not ended
