import gc
import itertools
import threading
import types

import pytest

from vit_jax.data import prefetch


def take(items, count):
  return list(itertools.islice(items, count))


def threads():
  return {thread for thread in threading.enumerate() if thread.daemon}


def test_prefetching_changes_nothing_in_the_sequence():
  assert list(prefetch.Prefetch(iter(range(50)), 3)) == list(range(50))
  assert list(prefetch.Prefetch(iter(()), 1)) == []


def test_prefetching_runs_ahead_as_far_as_it_may(wait_until):
  made = []
  items = prefetch.Prefetch((made.append(i) or i for i in range(99)), 3)
  wait_until(lambda: len(made) >= 4)
  threading.Event().wait(0.05)  # For one more, were there room.
  assert made == [0, 1, 2, 3]  # Three are ready and one waits for its place.
  assert next(items) == 0
  items.close()


def test_an_error_comes_after_the_items_before_it():
  def items():
    yield 1
    yield 2
    raise KeyError('third')

  prefetched = prefetch.Prefetch(items(), 4)
  assert [next(prefetched), next(prefetched)] == [1, 2]
  with pytest.raises(KeyError, match=r'third'):
    next(prefetched)
  with pytest.raises(StopIteration):
    next(prefetched)


@pytest.mark.parametrize('num_taken', [0, 1, 7])
def test_closing_stops_the_thread(num_taken):
  before = threads()
  items = prefetch.Prefetch(itertools.count(), 2)
  take(items, num_taken)
  items.close()
  assert threads() <= before
  with pytest.raises(StopIteration):
    next(items)


def test_dropping_the_iterator_stops_the_thread():
  before = threads()
  items = prefetch.Prefetch(itertools.count(), 2)
  next(items)
  del items
  gc.collect()
  assert threads() <= before


def test_only_the_time_awaited_is_counted(monkeypatch, wait_until):
  now, asked, ready = [1000.0], threading.Event(), threading.Event()

  def monotonic():
    seconds = now[0]
    asked.set()
    return seconds

  def items():
    asked.wait()  # The first one is awaited
    now[0] += 7  # for so long.
    yield from range(4)
    ready.set()

  clock = types.SimpleNamespace(monotonic=monotonic)
  monkeypatch.setattr(prefetch, 'time', clock)
  prefetched = prefetch.Prefetch(items(), 4)
  next(prefetched)
  assert prefetched.take_wait() == 7
  wait_until(ready.is_set)
  now[0] += 100
  assert take(prefetched, 3) == [1, 2, 3]
  assert prefetched.take_wait() == 0
