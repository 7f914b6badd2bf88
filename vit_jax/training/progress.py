"""The step monitor: metrics of each step, read one step late and checked.

By then the device is already at the next step and never waits for the host.
"""

import contextlib

import jax

from vit_jax.evaluation import metrics
from vit_jax.training.runtime import preemption

# Of every step, and for the run itself rather than its reader.
_INTERNAL = ('skipped_in_row', 'halted')


class Diverged(Exception):
  """The maximum number of consecutive skipped steps was reached."""


class Progress:
  """Takes the metrics of each step, and logs them when due.

  Args:
    log: the run's `log.RunLog`.
    timings: the run's `timings.Timings`.
    is_logged: maps the number of a step to whether its metrics are logged.
    max_in_row: number of consecutive skipped steps that raises `Diverged`.

  Attributes:
    num_in_row: number of consecutive steps skipped, up to the last one read.
    last_step: the last one whose metrics were taken, read or not.
  """

  def __init__(self, log, timings, is_logged, max_in_row):
    self._log = log
    self._timings = timings
    self._is_logged = is_logged
    self._max_in_row = max_in_row
    self._unread = []
    self.num_in_row = 0
    self.last_step = 0

  def start(self, step):
    """To be called with the number of steps taken before the first one."""
    self.last_step = step

  def log_step(self, step, means, now, take_wait):
    """Takes the metrics of a step, and reads those of the step before it.

    Args:
      step: its number.
      means: {name: metrics.Mean}, as `train_step` returns them.
      now: whether these, too, are read immediately.
      take_wait: returns the seconds spent waiting for data since its last call.

    Raises:
      Stopped: the processes have agreed to stop; the step was not taken.
      Diverged: too many consecutive steps were skipped; none was taken since.
    """
    is_done = all(leaf.is_ready() for leaf in jax.tree.leaves(means))
    self._timings.dispatched(take_wait(), is_done)
    self._unread.append((step, means))
    self.last_step = step
    while len(self._unread) > (0 if now else 1):
      self._read(*self._unread.pop(0))

  def flush(self):
    """Reads the metrics of all steps taken, on the way out of a training.

    What they would raise is known by then, or comes again on a resume.
    """
    while self._unread:
      with contextlib.suppress(Exception):
        self._read(*self._unread.pop(0))

  def _read(self, step, means):
    values = metrics.compute(jax.device_get(means))
    internal = {name: values.pop(name) for name in _INTERNAL}
    values['skipped'] = int(values['skipped'])
    self.num_in_row = int(internal['skipped_in_row'])
    if not internal['halted']:
      self._timings.completed()
      if self._is_logged(step):
        self._log.train(step, values, self._timings.take(step))
    if self.num_in_row >= self._max_in_row:
      self._unread.clear()
      raise Diverged
    if internal['halted']:
      self._unread.clear()
      raise preemption.Stopped
