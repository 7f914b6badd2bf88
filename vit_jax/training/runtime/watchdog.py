"""Ends a run that makes no progress, and prints the stack of each thread.

A process that waits for a peer, a loader or a disk that never responds would
otherwise hang forever, and with it all processes of the run.
"""

import faulthandler
import os
import tempfile
import threading
import time

from vit_jax.training.runtime import process_log

STATUS = 70  # EX_SOFTWARE of sysexits.h.
PATIENCE = 10  # For what takes long once, such as a compilation.
_SLOWER = 5  # So many times slower than ever before counts as no progress.


class Watchdog:
  """A context that expects heartbeats from the run.

  Its timeout is `seconds`, or five times the longest time so far between two
  calls of `beat`, whichever is longer.

  Args:
    seconds: without a heartbeat; 0: it never ends the run.
    probe: returns any value; a change of it counts as a heartbeat too. For work
      done elsewhere, such as a save.
    clock: returns the seconds.
  """

  def __init__(self, seconds, probe, clock=time.monotonic):
    self._seconds = seconds
    self._probe = probe
    self._clock = clock
    self._longest = 0
    self._patience = PATIENCE
    self._beat = self._alive = self._clock()
    self._seen = None
    self._ended = threading.Event()

  def __enter__(self):
    if self._seconds:
      self._thread = threading.Thread(target=self._watch, daemon=True)
      self._thread.start()
    return self

  def __exit__(self, *_):
    self._ended.set()

  def beat(self, patience=1):
    """Registers a heartbeat.

    Args:
      patience: how many times longer the next one may take; such an interval
        does not count as a usual one.
    """
    now = self._clock()
    if self._patience == 1:
      self._longest = max(self._longest, now - self._beat)
    self._beat, self._patience = now, patience

  def watch(self, items):
    """Yields the items; each is a heartbeat."""
    for item in items:
      self.beat()
      yield item

  def _watch(self):
    while not self._ended.wait(min(1, self._seconds / 4)):
      self.look()

  def look(self):
    """Ends the run if there was no heartbeat for too long; called regularly."""
    limit = self._patience * max(self._seconds, _SLOWER * self._longest)
    self._alive = max(self._alive, self._beat)
    if self._clock() - self._alive < limit / 2:
      return
    probed = self._probe()
    if probed != self._seen:
      if self._seen is not None:
        self._alive = self._clock()
      self._seen = probed
    elif self._clock() - self._alive > limit:
      _end(limit)


def _end(seconds):
  with tempfile.TemporaryFile() as file:
    faulthandler.dump_traceback(file, all_threads=True)
    file.seek(0)
    stacks = file.read().decode(errors='replace')
  log = process_log.CURRENT
  log.say(
    f'No progress for {seconds:.0f} s (run.watchdog_seconds): stopping. The '
    f'stack of each thread:\n{stacks}'
  )
  log.say(
    f'No progress for {seconds:.0f} s: this process ends with status {STATUS}. '
    'Restart all processes of the run: the same command resumes from the last '
    'checkpoint.'
  )
  os._exit(STATUS)
