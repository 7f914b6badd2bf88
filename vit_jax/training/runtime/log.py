"""The metrics logger of a run.

To a terminal: a progress bar. To a log: a line for each set of metrics. To the
workdir: metrics.jsonl (see `metrics_file`) and TensorBoard event files.
"""

import contextlib
import datetime
import pathlib
import sys
import time

import tensorboardX
import tqdm

from vit_jax import errors
from vit_jax.training.runtime import metrics_file


class RunLog:
  """A context in which a run logs its metrics.

      with RunLog(workdir, num_steps=400, batch_size=128) as log:
        log.start(0, [])
        log.train(50, {'loss': 2.301})
        log.evaluation(50, {'loss': 2.2, 'accuracy': 0.21})

  Args:
    workdir: folder of the run; exists.
    num_steps: of the whole training.
    batch_size: images per step over all devices.
    stream: where to print; on a terminal, a progress bar.
    is_writer: False where another process prints and writes the same.
    clock: returns seconds.
  """

  def __init__(
    self,
    workdir,
    num_steps,
    batch_size,
    stream=None,
    is_writer=True,
    clock=time.monotonic,
  ):
    self._workdir = pathlib.Path(workdir)
    self._num_steps = num_steps
    self._stream = sys.stderr if stream is None else stream
    self._is_writer = is_writer
    self._pace = _Pace(num_steps, batch_size, clock)
    self._open = contextlib.ExitStack()
    self._board = self._bar = None
    self._file = metrics_file.MetricsFile(workdir, self._show)
    self.records = []  # All so far, as metrics.jsonl holds them.

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._open.close()

  def start(self, step, records):
    """Starts the clock, after `step` steps.

    Args:
      step: number of steps taken.
      records: `records` at that time. Later lines of metrics.jsonl are of steps
        that were not saved before an interruption; they are dropped and written
        anew.
    """
    self.records = list(records)
    if not self._is_writer:
      return
    self._pace.start(step)
    self._file.rewrite(self.records)
    self._board = self._open.enter_context(
      tensorboardX.SummaryWriter(
        str(self._workdir / 'tensorboard'), purge_step=step + 1
      )
    )
    if self._stream.isatty():
      self._bar = self._open.enter_context(
        tqdm.tqdm(
          total=self._num_steps,
          initial=step,
          file=self._stream,
          dynamic_ncols=True,
          bar_format='{percentage:3.0f}% {bar} {n_fmt}/{total_fmt}{postfix}',
        )
      )

  def train(self, step, values, timings=None):
    """Logs {name: float} of step number `step`, the first being 1.

    Args:
      step: number of the step.
      values: metrics computed by the step.
      timings: {name: float}, for TensorBoard only, which also gets the images
        per second.
    """
    record = self._record(step, 'train', values)
    if not self._is_writer:
      return
    rate, seconds_left = self._pace.train(step)
    self._write(record)
    timings = {'images_per_second': rate, **(timings or {})}
    for name, value in timings.items():
      self._board.add_scalar(f'train/{name}', value, step)
    ending = datetime.timedelta(seconds=round(seconds_left))
    text = f'{_text(values)}  {rate:.0f} img/s  ETA {ending}'
    if self._bar is None:
      self._show(f'step {step}/{self._num_steps}  {text}')
    else:
      self._bar.set_postfix_str(text, refresh=False)
      self._bar.update(step - self._bar.n)

  def evaluation(self, step, values):
    """Logs {name: float}, measured after `step` steps.

    The time since the last call is not counted as training.
    """
    record = self._record(step, 'eval', values)
    if not self._is_writer:
      return
    self._pace.pause(step)
    self._write(record)
    self._show(f'step {step}/{self._num_steps}  eval  {_text(values)}')

  def has_evaluation(self, step):
    """Returns whether the evaluation after `step` steps was logged."""
    return any(
      record['split'] == 'eval' and record['step'] == step
      for record in self.records
    )

  def say(self, text):
    """Prints a line."""
    if self._is_writer:
      self._show(text)

  def _show(self, text):
    text = errors.shown(text)
    if self._bar is None:
      print(text, file=self._stream, flush=True)
    else:
      self._bar.write(text, file=self._stream)

  def _record(self, step, split, values):
    values = {
      name: metrics_file.finite(value) for name, value in values.items()
    }
    self.records.append({'step': step, 'split': split, **values})
    return self.records[-1]

  def _write(self, record):
    self._file.append(self.records)
    for name, value in record.items():
      if name not in ('step', 'split') and value is not None:
        self._board.add_scalar(
          f'{record["split"]}/{name}', value, record['step']
        )


class _Pace:
  """Training throughput, without evaluation, and the remaining time."""

  def __init__(self, num_steps, batch_size, clock):
    self._num_steps = num_steps
    self._batch_size = batch_size
    self._clock = clock
    self._since = None  # (step, seconds) from which the rate is measured.
    self._origin = None  # Likewise of the time left, all included.
    self._is_first = True

  def start(self, step):
    self._since = self._origin = (step, self._clock())

  def pause(self, step):
    self._since = (step, self._clock())

  def train(self, step):
    """Returns images per second since the last call, and the seconds left."""
    now = self._clock()
    last_step, last = self._since
    rate = (step - last_step) * self._batch_size / max(now - last, 1e-9)
    first_step, first = self._origin
    seconds = (now - first) / max(step - first_step, 1)
    self._since = (step, now)
    if self._is_first:  # It includes compilation, which happens only once.
      self._origin = (step, now)
      self._is_first = False
    return rate, seconds * (self._num_steps - step)


def _text(values):
  return '  '.join(f'{name} {_number(values[name])}' for name in values)


def _number(value):
  if isinstance(value, int):
    return str(value)
  return f'{value:.3f}' if value == 0 or abs(value) >= 0.1 else f'{value:.3g}'
