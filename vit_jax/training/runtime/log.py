"""The metrics logger of a run.

To a terminal: a progress bar. To a log: a line for each set of metrics, with
the speed and where the time went. To the workdir: metrics.jsonl (see
`metrics_file`), what other `writers` write, and all lines (see `process_log`).
"""

import contextlib
import datetime
import pathlib
import sys

import tqdm

from vit_jax import errors
from vit_jax.training.runtime import metrics_file, preemption, process_log


class RunLog:
  """A context in which a run logs its metrics.

      with RunLog(workdir, num_steps=400) as log:
        log.start(0, [])
        log.train(50, {'loss': 2.301}, {'images_per_second': 120.0})
        log.evaluation(50, {'loss': 2.2, 'accuracy': 0.21})

  Args:
    workdir: folder of the run; exists.
    num_steps: of the whole training.
    stream: where to print; on a terminal, a progress bar.
    is_writer: False where another process prints and writes the same: this one
      writes into its own log only.
    process: the `process_log.ProcessLog` of this process.
    make_writers: takes `say`, and returns writers besides metrics.jsonl (see
      `writers`).
  """

  def __init__(
    self,
    workdir,
    num_steps,
    stream=None,
    is_writer=True,
    process=process_log.CURRENT,
    make_writers=lambda say: [],
  ):
    self._workdir = pathlib.Path(workdir)
    self._num_steps = num_steps
    self._stream = sys.stderr if stream is None else stream
    self._is_writer = is_writer
    self._process = process
    self._open = contextlib.ExitStack()
    self._bar = None
    self._writers = make_writers(self.say) if is_writer else []
    self._file = metrics_file.MetricsFile(workdir, self.say)
    self.records = []  # All so far, as metrics.jsonl holds them.

  def __enter__(self):
    plain = (errors.UserError, preemption.Preempted)
    self._open.enter_context(self._process.opened(self._workdir, plain))
    return self

  def __exit__(self, *error):
    return self._open.__exit__(*error)

  def start(self, step, records):
    """Begins with the step after `step`.

    Args:
      step: number of steps taken.
      records: `records` at that time. Later lines of metrics.jsonl are of steps
        that were not saved before an interruption; they are dropped and written
        anew.
    """
    self.records = list(records)
    if not self._is_writer:
      return
    self._file.rewrite(self.records)
    for writer in self._writers:
      self._open.enter_context(writer)
      writer.start(step, self.records)
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
      timings: {name: float} of the steps since the last call; see
        `timings.Timings.take`. They don't enter metrics.jsonl.
    """
    record = self._record(step, 'train', values)
    timings = timings or {}
    line = _joined(self._place(step), _text(values), _timings_text(timings))
    if not self._is_writer:
      self.note(line)
      return
    for writer in self._writers:
      writer.timings(step, timings)
    self._write(record)
    if self._bar is None:
      self.say(line)
    else:
      self.note(line)
      few = {name: timings[name] for name in _IN_BAR if name in timings}
      text = _joined(_text(values), _timings_text(few))
      self._bar.set_postfix_str(text, refresh=False)
      self._bar.update(step - self._bar.n)

  def evaluation(self, step, values):
    """Logs {name: float}, measured after `step` steps."""
    record = self._record(step, 'eval', values)
    line = _joined(self._place(step), 'eval', _text(values))
    if not self._is_writer:
      self.note(line)
      return
    self._write(record)
    self.say(line)

  def has_evaluation(self, step):
    """Returns whether the evaluation after `step` steps was logged."""
    return any(
      record['split'] == 'eval' and record['step'] == step
      for record in self.records
    )

  def say(self, text):
    """Shows lines, and writes them into the log of this process."""
    self.note(text)
    if not self._is_writer:
      return
    text = self._process.shown(text)
    if self._bar is None:
      print(text, file=self._stream, flush=True)
    else:
      self._bar.write(text, file=self._stream)

  def note(self, text):
    """Writes lines into the log of this process, and shows none of them."""
    self._process.write(text)

  def _place(self, step):
    return f'step {step}/{self._num_steps}'

  def _record(self, step, split, values):
    values = {
      name: metrics_file.finite(value) for name, value in values.items()
    }
    self.records.append({'step': step, 'split': split, **values})
    return self.records[-1]

  def _write(self, record):
    self._file.append(self.records)
    for writer in self._writers:
      writer.write(record)


# How timings are written in a line, in this order.
_FORMATS = {
  'images_per_second': '{:,.0f} img/s',
  'images_per_second_per_chip': '{:,.0f} per chip',
  'mfu': 'MFU {:.1%}',
  'step_median': 'step {:.3g} s',
  'step_worst': 'worst {:.3g} s',
  'data_wait': 'data {:.2g} s',
  'evaluation': 'evaluation {:.2g} s',
  'save': 'save {:.2g} s',
  'profile': 'profile {:.2g} s',
  'memory_in_use': 'memory {:.3g} GB',
  'memory_peak': 'peak {:.3g} GB',
  'goodput': 'goodput {:.1%}',
  'seconds_left': 'ETA {}',
}
_IN_BAR = ('images_per_second', 'mfu', 'seconds_left')


def _timings_text(timings):
  rates = [timings.get(f'images_per_second{of}') for of in ('', '_per_chip')]
  hidden = {'images_per_second_per_chip'} if rates[0] == rates[1] else ()
  return '  '.join(
    text.format(_in_units(name, timings[name]))
    for name, text in _FORMATS.items()
    if name in timings and name not in hidden
  )


def _in_units(name, value):
  if name.startswith('memory'):
    return value / 1e9
  if name == 'seconds_left':
    return datetime.timedelta(seconds=round(value))
  return value


def _joined(*texts):
  return '  '.join(filter(None, texts))


def _text(values):
  return '  '.join(f'{name} {_number(values[name])}' for name in values)


def _number(value):
  if isinstance(value, int):
    return str(value)
  return f'{value:.3f}' if value == 0 or abs(value) >= 0.1 else f'{value:.3g}'
