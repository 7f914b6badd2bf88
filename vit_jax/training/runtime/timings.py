"""Where the time of a run goes, and how fast it is: timings.jsonl.

All times are of this host's clock, and nothing waits for a device to take them.
A step counts as completed when its metrics are seen to be there: right after
the call where the host itself computes, else once the next step was dispatched.
Its time is that since the step before it, without evaluations and saves.
"""

import collections
import contextlib
import json
import math
import pathlib
import statistics
import time
from typing import NamedTuple

import jax

from vit_jax import files
from vit_jax.training.runtime import line_file

FILE = 'timings.jsonl'
START, TRAIN, SAVE, END = 'start', 'train', 'save', 'end'  # Kinds of records.

# Steps after the first one by which a run is said to wait for its data, and
# the fraction of their time from which it is.
JUDGED_STEPS = 10
STARVING = 0.2


class Speed(NamedTuple):
  """What the speed of a run is measured by.

  Attributes:
    batch_size: images per step over all devices.
    num_chips: over which they are split; devices where chips are not known.
    flops_per_image: of a forward and a backward pass; None: not known.
    peak: operations per second of all chips together; None: not known.
  """

  batch_size: int
  num_chips: float = 1
  flops_per_image: float | None = None
  peak: float | None = None


class FirstSteps(NamedTuple):
  """What the first steps of a process tell.

  Attributes:
    seconds: of a step, on average.
    waiting: fraction of it that was waiting for data.
    seconds_left: of all remaining steps.
  """

  seconds: float
  waiting: float
  seconds_left: float


class Timings:
  """Takes the time of each step, and sums it up for the log.

      timings = Timings(num_steps, Speed(batch_size), TimingsFile(workdir))
      timings.open()
      timings.restore(0)
      timings.start(0)
      timings.dispatched(waited=0.1, is_done=True)
      timings.completed()
      timings.take(1)

  Goodput is the time of the steps that count in the state of the run, divided
  by the time since the run was first started, with all that lies between. It
  is right after a crash at any moment: `mark` records the time of the steps
  before they are saved, and `restore` looks up the step that was restored.

  Args:
    num_steps: of the whole training.
    speed: a `Speed`.
    file: a `TimingsFile`; None: of several processes, another one writes it.
    devices: those of the run on this host, whose memory is looked at.
    clock: returns seconds since any moment.
    wall: returns seconds since 1970, which other processes count on from.
  """

  def __init__(
    self,
    num_steps,
    speed,
    file=None,
    devices=(),
    clock=time.monotonic,
    wall=time.time,
  ):
    self._num_steps = num_steps
    self._speed = speed
    self._file = file
    self._devices = devices
    self._clock = clock
    self._wall = wall
    self._first = self._wall()  # When the run was first started.
    self._useful = 0.0  # Seconds of the steps that count.
    self._pending = collections.deque()  # (seconds waited, when done or None).
    self._judged = [0, 0.0, 0.0]  # Steps, seconds waited, seconds.
    self._is_first = True
    self._clear()

  def _clear(self):
    self._durations, self._data_wait = [], 0.0
    self._spent = collections.Counter()

  # The run's past -------------------------------------------------------------

  def open(self):
    """Reads what earlier processes of the run have recorded."""
    if self._file is None:
      return
    self._file.open()
    now = self._first
    self._first = self._file.first_start(now)
    self._file.append({'event': START, 'time': now})

  def restore(self, step):
    """Counts on from a state that was restored, of `step` steps."""
    if self._file is not None:
      self._useful = self._file.useful_seconds(step)

  def restart(self, step, state_step):
    """Goes on from an earlier state: the steps since then don't count.

    Args:
      step: number of steps taken.
      state_step: the step of the state.
    """
    self.restore(state_step)
    self.start(step)

  # From step to step ----------------------------------------------------------

  def start(self, step):
    """Starts the clock of the steps, after `step` of them."""
    self._pending.clear()
    self._last = self._clock()
    self._paused = 0.0
    self._origin = step, self._last  # Of the time that is left.

  def dispatched(self, waited, is_done):
    """Notes that a step was handed to the devices.

    Args:
      waited: seconds that it had to wait for its batch.
      is_done: whether it is completed by now.
    """
    self._pending.append((waited, self._clock() if is_done else None))

  def completed(self):
    """Notes that the metrics of the next step in order have been read."""
    waited, when = self._pending.popleft()
    when = self._clock() if when is None else when
    seconds = max(0.0, when - self._last - self._paused)
    self._last, self._paused = when, 0.0
    self._durations.append(seconds)
    self._data_wait += waited
    self._useful += seconds
    is_very_first = self._is_first and len(self._durations) == 1
    if self._judged and not is_very_first:  # The queues are empty before it.
      for place, amount in enumerate((1, waited, seconds)):
        self._judged[place] += amount

  @contextlib.contextmanager
  def spending(self, kind):
    """A context whose time is no step's, but of a kind of its own."""
    began = self._clock()
    try:
      yield
    finally:
      seconds = self._clock() - began
      self._spent[kind] += seconds
      self._paused += seconds

  # What comes of it -----------------------------------------------------------

  def take(self, step):
    """Returns the timings since the last call, and records them.

    Args:
      step: the last step that was completed.

    Returns:
      {name: number}; seconds, where the name says nothing else. What is not
      known is left out.
    """
    found = {**self._pace(step), **self._waits(), **memory(self._devices)}
    if self._file is not None:
      found['goodput'] = self._goodput()
    self._write(TRAIN, step, found)
    self._clear()
    return found

  def mark(self, step):
    """Records the time of the steps that count, before `step` is saved."""
    if self._file is not None and not self._file.has_last(step, self._useful):
      self._write(SAVE, step)

  def finish(self, step):
    """Returns the timings since the last line, and those of the whole run."""
    found = self._waits()
    if self._file is not None:
      found['goodput'] = self._goodput()
      found['since_first_start'] = self._wall() - self._first
    self._write(END, step, found)
    self._clear()
    return found

  def first_steps(self, step):
    """Returns the `FirstSteps` once, when there were `JUDGED_STEPS`; else None.

    Args:
      step: the last step that was taken.
    """
    if self._judged is None or self._judged[0] < JUDGED_STEPS:
      return None
    count, waited, seconds = self._judged
    self._judged = None
    return FirstSteps(
      seconds / count,
      min(1.0, waited / max(seconds, 1e-9)),
      seconds / count * (self._num_steps - step),
    )

  def _pace(self, step):
    now, seconds = self._clock(), sum(self._durations)
    speed = self._speed
    rate = len(self._durations) * speed.batch_size / max(seconds, 1e-9)
    found = {
      'images_per_second': rate,
      'images_per_second_per_chip': rate / speed.num_chips,
    }
    if speed.peak and speed.flops_per_image:
      found['mfu'] = rate * speed.flops_per_image / speed.peak
    if self._durations:
      found['step_median'] = statistics.median(self._durations)
      found['step_worst'] = max(self._durations)
    first_step, first = self._origin
    each = (now - first) / max(step - first_step, 1)
    found['seconds_left'] = each * (self._num_steps - step)
    if self._is_first:  # Slower than the others; it happens only once.
      self._origin, self._is_first = (step, now), False
    return found

  def _waits(self):
    return {'data_wait': self._data_wait, **self._spent}

  def _goodput(self):
    since = max(self._wall() - self._first, self._useful)  # Clocks may jump.
    return self._useful / since if since else 0.0

  def _write(self, event, step, values=None):
    if self._file is None:
      return
    record = {
      'event': event,
      'step': step,
      'time': self._wall(),
      'useful_seconds': self._useful,
    }
    numbers = {
      name: float(f'{value:.6g}') for name, value in (values or {}).items()
    }
    self._file.append({**record, **numbers})


class TimingsFile:
  """timings.jsonl in the folder of a run: a JSON object per line.

  Each has `event` (start, train, save or end), its `time` (seconds since 1970)
  and, but for starts, `step` and `useful_seconds` (of the steps that count, up
  to that one). Lines are only ever added, by each start of the run.

  Args:
    workdir: folder of the run.
    say: takes a line for the user about what has happened.
  """

  def __init__(self, workdir, say):
    self._workdir = workdir
    self._say = say
    self._lines = line_file.LineFile(pathlib.Path(workdir) / FILE, say)
    self._records = []

  def open(self):
    """Reads what is there."""
    self._records, num_bad = read(self._workdir)
    if num_bad:
      self._say(
        f'{self._lines.path}: {num_bad} line(s) are not readable; left out'
      )

  def first_start(self, default):
    """Returns when the run was first started, in seconds since 1970."""
    starts = [r['time'] for r in self._records if r['event'] == START]
    return min([*starts[:1], default])

  def useful_seconds(self, step):
    """Returns the seconds of the steps that count, after `step` steps.

    A step may have been taken repeatedly, after crashes: the last one counts.
    """
    newest = {r['step']: r for r in self._records if r['event'] != START}
    steps = [each for each in newest if each <= step]
    return newest[max(steps)]['useful_seconds'] if steps else 0.0

  def has_last(self, step, useful_seconds):
    """Returns whether the last line says this of `step`."""
    last = self._records[-1] if self._records else {}
    found = last.get('step'), last.get('useful_seconds')
    return found == (step, useful_seconds)

  def append(self, record):
    """Adds a line; a full disk is no reason to stop, it is kept for later."""
    self._records.append(record)
    self._lines.append([json.dumps(record, allow_nan=False)])


def read(workdir):
  """Returns the records of a run, and how many lines could not be read.

  Raises:
    UserError: the file is no regular file or is too large.
  """
  records, num_bad = [], 0
  lines = files.read_lines(files.path(workdir) / FILE)
  for number, line in enumerate(lines, 1):
    try:
      records.append(_parse(line))
    except (ValueError, KeyError, TypeError, OverflowError):
      num_bad += number < len(lines)  # A crash may have cut the last one.
  return records, num_bad


def _parse(line):
  record = files.parse_json(line)
  if record['event'] not in (START, TRAIN, SAVE, END):
    raise ValueError(f'event {record["event"]!r}')
  numbers = {
    name: float(value) for name, value in record.items() if name != 'event'
  }
  if not all(map(math.isfinite, numbers.values())):
    raise ValueError('a number is not finite')
  found = {'event': record['event'], **numbers, 'time': numbers['time']}
  if record['event'] != START:
    found['step'] = int(numbers['step'])
    found['useful_seconds'] = numbers['useful_seconds']
  return found


def memory(devices):
  """Returns bytes in use, now and at most, of the fullest of some devices.

  {} where they don't tell, as CPUs don't.
  """
  try:
    stats = [device.memory_stats() for device in devices]
  except jax.errors.JaxRuntimeError:  # A plugin that has no such statistics.
    return {}
  found = {}
  for name, key in (
    ('memory_in_use', 'bytes_in_use'),
    ('memory_peak', 'peak_bytes_in_use'),
  ):
    numbers = [each[key] for each in stats if each and key in each]
    if numbers:
      found[name] = max(numbers)
  return found
