"""metrics.jsonl in the folder of a run: a JSON object per line.

It holds what the run computes and no timings: it is the same whatever the
machine and however often the run was interrupted.
"""

import contextlib
import json
import math

from vit_jax import errors, files

FILE = 'metrics.jsonl'


class MetricsFile:
  """Writes the records of a run.

  Args:
    workdir: folder of the run; exists.
    say: takes a line for the user about what has happened.
  """

  def __init__(self, workdir, say):
    self._path = files.path(workdir) / FILE
    self._say = say
    self._is_whole = True  # It holds all records.

  def rewrite(self, records):
    """Replaces all that is there by these records."""
    text = ''.join(f'{_line(record)}\n' for record in records)
    with self._tolerant():
      files.write_text(self._path, text)

  def append(self, records):
    """Adds the last of these records, the others being there."""
    if not self._is_whole:
      self.rewrite(records)
      return
    with self._tolerant():
      files.append_line(self._path, _line(records[-1]))

  @contextlib.contextmanager
  def _tolerant(self):
    """A full disk is no reason to stop: the records are kept for later."""
    try:
      yield
      self._is_whole = True
    except OSError as error:
      if self._is_whole:
        self._say(f'{self._path} cannot be written ({error}); continuing')
      self._is_whole = False


def read(workdir):
  """Returns the metrics of a run: [{'step': 50, 'split': 'train', ...}].

  A metric that was not a finite number is nan. A last line truncated by a crash
  is left out.

  Raises:
    UserError: there is no metrics.jsonl, or it can't be parsed.
  """
  path = files.path(workdir) / FILE
  if not path.exists():
    raise errors.UserError(
      f'{workdir} has no {FILE}; give the --workdir of a run.'
    )
  records, problems = readable(workdir)
  if problems:
    raise errors.UserError(problems[0])
  return records


def readable(workdir):
  """Returns the metrics of a run, and what is wrong with other lines.

  Returns:
    The records, as `read` does, [] where there is no file; and a line of text
    for each line before the last that is none of metrics.

  Raises:
    UserError: the file is no regular file or is too large.
  """
  path = files.path(workdir) / FILE
  lines, records, problems = files.read_lines(path), [], []
  for number, line in enumerate(lines, 1):
    try:
      found = _parse(line)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
      if number < len(lines):  # A crash may have cut the last one.
        problems.append(
          f'{path}, line {number} is not a line of metrics ({error}).'
        )
      continue
    records.append(
      {
        name: math.nan if value is None else value
        for name, value in found.items()
      }
    )
  return records, problems


def finite(value):
  """Returns a number as JSON holds it: None where it is not finite."""
  value = value if isinstance(value, int) else float(value)
  return value if math.isfinite(value) else None


def _parse(line):
  record = files.parse_json(line)
  if record['split'] not in ('train', 'eval'):
    raise ValueError(f'split {record["split"]!r}')
  for name, value in record.items():
    if name != 'split' and value is not None:
      float(value)
  int(record['step'])
  return record


def _line(record):
  return json.dumps(record, allow_nan=False)
