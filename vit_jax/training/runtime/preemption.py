"""Preemption: SIGTERM from a scheduler, SIGINT from a person, SIGHUP.

The first signal lets the run save what it has and leave with the exit status
`STATUS`; the second ends it at once. Before the first step there is nothing to
save, and the first signal ends it too: what a start does can be repeated.
"""

import contextlib
import os
import signal
import socket
import sys
import threading

STATUS = 75  # EX_TEMPFAIL of sysexits.h: the same command resumes the run.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
  """The run has been told to stop."""


class Preempted(Exception):
  """The run was told to stop; the message says what was saved, where."""


class Stop:
  """A context that turns signals into stop requests.

  In a thread other than the main one, which can't receive signals, it does
  nothing.

  Attributes:
    is_requested: whether a signal has come.
  """

  def __init__(self):
    self.is_requested = False
    self._is_ready = False
    self._num_told = 0
    self._interrupts = False
    self._undo = contextlib.ExitStack()

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self._install()
    return self

  def __exit__(self, *_):
    self._undo.close()

  def mark_ready(self):
    """Tells that the run now checks `is_requested` by itself."""
    self._is_ready = True

  def iterate(self, batches, make_dummy):
    """Yields batches; once told to stop, dummies and at once.

    So a process that awaits data goes on in step with the others until all
    have agreed to stop.
    """
    batches = iter(batches)
    while True:
      try:
        with self._interruptible():
          batch = next(batches)
      except StopIteration:
        return
      except Stopped:
        batch = make_dummy()
      yield batch

  @contextlib.contextmanager
  def _interruptible(self):
    """Within it a signal raises `Stopped`, so that no wait outlasts it."""
    self._interrupts = True
    try:
      if self.is_requested:
        raise Stopped
      yield
    finally:
      self._interrupts = False

  def _install(self):
    for number in SIGNALS:
      previous = signal.getsignal(number)
      if previous is signal.SIG_IGN:  # As under nohup.
        continue
      signal.signal(number, self._interrupt)
      self._undo.callback(signal.signal, number, previous)
    # Python runs handlers between two instructions of the main thread, and not
    # while that is compiling; but it tells the number at once, by this socket.
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=self._watch, args=(reader,), daemon=True)
    thread.start()
    self._undo.callback(thread.join)
    self._undo.callback(writer.close)
    self._undo.callback(signal.set_wakeup_fd, previous)

  def _interrupt(self, *_):
    self.is_requested = True
    if self._interrupts:
      raise Stopped

  def _watch(self, reader):
    """Runs in a thread: acts on the numbers of the signals that come."""
    with reader:
      while number := reader.recv(1):
        self._act(signal.Signals(number[0]))

  def _act(self, told):
    if told not in SIGNALS:
      return
    if not self._is_ready:
      _exit(STATUS, f'{told.name} before the first step: nothing to save.')
    if self._num_told:
      _exit(128 + told, f'{told.name} again: leaving at once.')
    self._num_told += 1
    self.is_requested = True
    print(f'{told.name}: saving, then leaving.', file=sys.stderr, flush=True)


def _exit(status, text):
  """Ends the process from any thread, whatever the others are at."""
  print(text, file=sys.stderr, flush=True)
  os._exit(status)
