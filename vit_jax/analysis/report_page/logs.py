"""What the processes of a run have said, read from their logs."""

import itertools
import re
from typing import NamedTuple

from vit_jax import errors, files
from vit_jax.training.runtime import process_log

MAX_LOGS = 64  # Processes whose logs are read.
MAX_BYTES = 64 << 20  # Of each.
MAX_WARNINGS = 100
_LINE = re.compile(r'(\d{4}-\d\d-\d\dT\S+) (\S+) process (\d+): (.*)')
_FIRST = re.compile(r'vit_jax \d')  # How the first line of a start begins.
_RESUMED = re.compile(r'resumed at step (\d+)')
_ROLLED_BACK = re.compile(r'.* up to step (\d+): rolling back .* step (\d+)')
_END, _DONE = 'end: ', 'end: done'
# Of what `overview.lines` says, in its order; then comes what the data are.
_FACTS = ('Versions', 'Devices and mesh', 'Model', 'Length')
_MAX_FACTS = 16
# Lines that somebody should read. Python's warnings and logging have a form of
# their own, and what the run itself says these words.
_NOTABLE = re.compile(
  r'(\w*Warning|WARNING|ERROR|CRITICAL): '
  r'|.*(updates in a row were skipped|wait for data|results may differ|'
  r'cannot be written|not readable|could not be saved|which is gone|'
  r'gone since the first step|is no test|has failed|failed to)'
)


class Line(NamedTuple):
  """A line of a log.

  Attributes:
    time: as it stands there, ISO 8601.
    process: number.
    text: what was said.
  """

  time: str
  process: int
  text: str


class Logs(NamedTuple):
  """The logs of a run.

  Attributes:
    lines: [Line] of process 0, in their order.
    others: likewise, of the other processes.
    num_processes: how many logs there are.
  """

  lines: tuple = ()
  others: tuple = ()
  num_processes: int = 0


def read(workdir):
  """Returns the `Logs` of a run; empty ones of an older run, which has none.

  Raises:
    UserError: one can't be read, or is too large.
  """
  found = list((files.path(workdir) / process_log.FOLDER).glob('process_*.log'))
  numbers = sorted(
    int(number)
    for path in found
    if (number := path.stem.removeprefix('process_')).isdecimal()
  )
  lines = {
    number: _lines(process_log.path(workdir, number))
    for number in numbers[:MAX_LOGS]
  }
  first = tuple(lines.pop(0, ()))
  others = tuple(itertools.chain.from_iterable(lines.values()))
  return Logs(first, others, len(numbers))


def _lines(path):
  found = map(_LINE.fullmatch, files.read_lines(path, MAX_BYTES))
  return [Line(each[1], int(each[3]), each[4]) for each in found if each]


def resumed(logs):
  """Returns the steps that the run was resumed at, in the order of time."""
  found = (_RESUMED.match(line.text) for line in logs.lines)
  return [int(each[1]) for each in found if each]


def rolled_back(logs):
  """Returns [(step, step that it went back to)] of rollbacks."""
  found = (_ROLLED_BACK.match(line.text) for line in logs.lines)
  return [(int(each[1]), int(each[2])) for each in found if each]


def last_end(logs):
  """Returns what the last start has said at its end; None: nothing yet."""
  for line in reversed(logs.lines):
    if line.text.startswith(_END):
      return line.text.removeprefix(_END)
    if _FIRST.match(line.text):
      return None
  return None


def environment(logs):
  """Returns [(name, text)] of what the last start has said of itself."""
  starts = [
    place for place, line in enumerate(logs.lines) if _FIRST.match(line.text)
  ]
  if not starts:
    return []
  said = []
  for line in logs.lines[starts[-1] :][:_MAX_FACTS]:
    if line.text.startswith(('step ', 'a step takes', _END)):
      break
    if not _RESUMED.match(line.text) and not _NOTABLE.match(line.text):
      said.append(errors.shown(line.text))
  rows = list(zip(_FACTS, said))
  rows += [('Data', text) for text in said[len(_FACTS) :]]
  first, last = logs.lines[0].time, logs.lines[starts[-1]].time
  rows += [('First start', first), ('Last start', last)]
  rows += [('Starts', f'{len(starts):,}')]
  return [*rows, ('Logs of processes', f'{logs.num_processes:,}')]


def warnings(logs):
  """Returns the warnings of all processes, each text once, the newest first.

  Returns:
    {'rows': [{'text', 'count', 'process', 'time'}], 'num_left_out': those
    beyond `MAX_WARNINGS`}.
  """
  found = {}
  for line in (*logs.lines, *logs.others):
    ending = line.text.startswith(_END) and line.text != _DONE
    if not ending and not _NOTABLE.match(line.text):
      continue
    text = errors.shown(line.text)
    count = found.pop(text, {'count': 0})['count'] + 1
    found[text] = {
      'text': text,
      'count': count,
      'process': line.process,
      'time': line.time,
    }
  rows = sorted(found.values(), key=lambda row: row['time'], reverse=True)
  return {
    'rows': rows[:MAX_WARNINGS],
    'num_left_out': max(len(rows) - MAX_WARNINGS, 0),
    'has_logs': logs.num_processes > 0,
  }
