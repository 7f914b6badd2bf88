"""Preemption: SIGTERM from a scheduler, SIGINT from a person, SIGHUP.

On the first signal the run saves its state and exits with status `STATUS`; the
second ends it at once. Before the first step there is nothing to save, and the
first signal ends it at once, too.

A run within another program, as in a notebook, must not end it: there the first
signal saves as well, and whatever signal does not is left to the program.
"""

import contextlib
import os
import signal
import socket
import threading

from vit_jax.training.runtime import process_log

STATUS = 75  # EX_TEMPFAIL of sysexits.h: the same command resumes the run.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
  """The run has been asked to stop."""


class Preempted(Exception):
  """The run has stopped on a signal; the message says what was saved where.

  Attributes:
    number: of the signal; None: another process of the run has received it.
  """

  def __init__(self, message, number=None):
    super().__init__(message)
    self.number = number


class Stop:
  """A context that turns signals into stop requests.

  In a thread other than the main one, which cannot handle signals, it does
  nothing.

  Args:
    may_exit: whether a signal may end the process, see above.

  Attributes:
    is_requested: whether a signal has come.
    number: of that signal, or None.
  """

  def __init__(self, may_exit=True):
    self.is_requested = False
    self.number = None
    self._may_exit = may_exit
    self._is_ready = False
    self._num_signals = 0
    self._interrupts = False
    self._undo = contextlib.ExitStack()

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self._install()
    return self

  def __exit__(self, *_):
    self._undo.close()

  def mark_ready(self):
    """To be called when the run checks `is_requested` by itself."""
    self._is_ready = True

  def iterate(self, batches, make_dummy):
    """Yields batches; once asked to stop, dummy batches without waiting.

    So a process that waits for data stays in step with the others until all
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
    """A context in which a signal raises `Stopped`, and so ends any wait."""
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
    if not self._may_exit:
      return
    # Python runs handlers between two instructions of the main thread, and not
    # while it compiles; but it writes the number to this socket immediately.
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=self._watch, args=(reader,), daemon=True)
    thread.start()
    self._undo.callback(thread.join)
    self._undo.callback(writer.close)
    self._undo.callback(signal.set_wakeup_fd, previous)

  def _interrupt(self, number, _):
    if not self._may_exit and (self.is_requested or not self._is_ready):
      self._undo.close()
      signal.raise_signal(number)  # To whoever was to handle it.
      return
    self.number = self.number or number
    if not self._may_exit:
      self._announce(number)
    self.is_requested = True
    if self._interrupts:
      raise Stopped

  def _watch(self, reader):
    """Runs in a thread: acts on the signals received."""
    with reader:
      while number := reader.recv(1):
        self._act(signal.Signals(number[0]))

  def _act(self, number):
    if number not in SIGNALS:
      return
    if not self._is_ready:
      _exit(STATUS, f'{number.name} before the first step: nothing to save.')
    if self._num_signals:
      _exit(128 + number, f'{number.name} again: exiting at once.')
    self._num_signals += 1
    self.is_requested = True
    self._announce(number)

  def _announce(self, number):
    name = signal.Signals(number).name
    process_log.CURRENT.say(f'{name}: saving, then exiting.')


def _exit(status, text):
  """Exits the process from any thread, whatever the others are doing."""
  process_log.CURRENT.say(text)
  os._exit(status)
