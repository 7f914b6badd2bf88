import os
import signal
import threading

import pytest

from vit_jax.training.runtime import preemption


@pytest.fixture(autouse=True)
def in_a_terminal():
  """Nothing is ignored, as it would be under nohup or in the background."""
  before = {
    number: signal.signal(number, signal.SIG_DFL)
    for number in preemption.SIGNALS
  }
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.fixture
def left(monkeypatch):
  """Exit statuses with which the process would have ended."""
  statuses = []
  monkeypatch.setattr(
    preemption, '_exit', lambda status, _: statuses.append(status)
  )
  return statuses


def test_before_the_first_step_a_signal_ends_the_process(left, wait_until):
  with preemption.Stop():
    signal.raise_signal(signal.SIGTERM)
    wait_until(lambda: left)
  assert left == [preemption.STATUS]


@pytest.mark.parametrize('number', preemption.SIGNALS)
def test_the_first_signal_is_a_request_and_the_second_an_order(
  left, number, wait_until
):
  with preemption.Stop() as stop:
    stop.mark_ready()
    signal.raise_signal(number)
    wait_until(lambda: stop.is_requested)
    assert left == []
    signal.raise_signal(number)
    wait_until(lambda: left)
  assert left == [128 + number]


def test_handlers_are_put_back():
  before = [signal.getsignal(number) for number in preemption.SIGNALS]
  with preemption.Stop():
    assert signal.getsignal(signal.SIGTERM) != before[0]
  assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


def test_an_ignored_signal_stays_ignored(left):
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with preemption.Stop() as stop:
      signal.raise_signal(signal.SIGHUP)
      assert not stop.is_requested
      stop.mark_ready()
      signal.raise_signal(signal.SIGTERM)
    assert stop.is_requested
    assert not left  # As it would be after a second one.
  finally:
    signal.signal(signal.SIGHUP, before)


def test_a_wait_for_data_ends_with_the_signal(left):
  came = []

  def slow():
    yield 'first'
    threading.Event().wait(60)
    came.append('in the end')
    yield from came

  with preemption.Stop() as stop:
    stop.mark_ready()
    fed = stop.iterate(slow(), lambda: 'blank')
    assert next(fed) == 'first'
    told = (os.getpid(), signal.SIGTERM)
    threading.Timer(0.2, os.kill, told).start()
    assert [next(fed), next(fed)] == ['blank', 'blank']
  assert came == []


def test_a_feed_ends_with_its_batches():
  assert list(preemption.Stop().iterate([1, 2], lambda: None)) == [1, 2]


def test_in_another_thread_it_does_nothing():
  stops = []

  def enter():
    with preemption.Stop() as stop:
      stops.append(stop)

  thread = threading.Thread(target=enter)
  thread.start()
  thread.join()
  assert not stops[0].is_requested
