"""Prefetching of an iterator in a thread, and timing of the waits for it."""

import queue
import threading
import time
import weakref


class Prefetch:
  """An iterator over the items of another; a thread keeps some ready.

  An error in the other is raised where its item would have come. Not for use
  by several threads.

  Args:
    iterator: read by the thread alone from now on.
    size: number of items kept ready, at least 1; one more is in the making.
  """

  def __init__(self, iterator, size):
    self._items = queue.Queue(size)
    self._waited = 0.0
    stopped = threading.Event()
    thread = threading.Thread(
      target=_run_ahead, args=(iterator, self._items, stopped), daemon=True
    )
    # Runs once: on close(), when nobody holds the iterator, or at exit.
    self._stop = weakref.finalize(self, _stop, thread, self._items, stopped)
    thread.start()

  def __iter__(self):
    return self

  def __next__(self):
    if not self._stop.alive:
      raise StopIteration
    began = time.monotonic()
    item, error = self._items.get()
    self._waited += time.monotonic() - began
    if error is not None:
      self.close()
      raise error
    return item

  def take_wait(self):
    """Returns the seconds spent waiting for items since the last call."""
    waited, self._waited = self._waited, 0.0
    return waited

  def close(self):
    """Stops the thread and waits for it; the iterator is at its end."""
    self._stop()


def _run_ahead(iterator, items, stopped):
  try:
    for item in iterator:
      items.put((item, None))
      if stopped.is_set():
        return
    items.put((None, StopIteration()))
  except BaseException as error:  # Raised in the thread that waits.
    items.put((None, error))


def _stop(thread, items, stopped):
  stopped.set()
  # The thread may wait for room in the queue: make some, so that it can stop.
  while not items.empty():
    items.get_nowait()
  if thread is not threading.current_thread():
    thread.join()
