"""What commands print as data: text for people, JSON lines or CSV for programs.

With `--format=json` (or `--json`) each row is a JSON object on a line of its
own, in ASCII, and a number that is not finite is null; with `--format=csv`
there is a line of names first. Names of files come out as they are: in CSV
their very bytes, in JSON those that are not UTF-8 as `os.fsencode` takes them.
"""

import csv
import io
import json
import math
import os
import sys

from vit_jax import errors


def write(rows, format=None, hidden=()):
  """Prints rows as a table, JSON lines or CSV.

  Args:
    rows: dicts that have the same names, of what JSON can hold.
    format: of `flags.FORMATS`; None: text.
    hidden: names of what is left out of the text.
  """
  rows = list(rows)
  if format == 'json':
    for row in rows:
      print(json_line(row))
  elif format == 'csv':
    _write_csv(rows)
  else:
    shown = [
      {name: value for name, value in row.items() if name not in hidden}
      for row in rows
    ]
    print('\n'.join(_table(shown)))


def json_line(row):
  """Returns a JSON object in one line of ASCII."""
  return json.dumps(_finite(row), allow_nan=False)


def prediction(format):
  """Returns tell(path, classes, problem), which prints what `predict` found.

  Args:
    format: 'json': an object per image; 'csv': a row per class.
  """
  if format == 'json':
    return _tell_json
  is_first = True

  def tell(path, classes, problem):
    nonlocal is_first
    found = [
      {'class': name, 'probability': probability}
      for name, probability in classes
    ]
    rows = [
      {'file': path, 'rank': rank, **each, 'problem': problem}
      for rank, each in enumerate(found, 1)
    ] or [
      {
        **{'file': path, 'rank': None, 'class': None, 'probability': None},
        'problem': problem,
      }
    ]
    _write_csv(rows, with_names=is_first)
    is_first = False

  return tell


def _tell_json(path, classes, problem):
  found = [
    {'class': name, 'probability': probability} for name, probability in classes
  ]
  print(json_line({'file': path, 'classes': found, 'problem': problem}))


def _finite(value):
  """Returns a value with None for numbers that are not finite."""
  if isinstance(value, dict):
    return {name: _finite(inner) for name, inner in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(inner) for inner in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def _write_csv(rows, with_names=True):
  if not rows:
    return
  file = io.StringIO(newline='')
  writer = csv.DictWriter(file, [*rows[0]], lineterminator='\n')
  if with_names:
    writer.writeheader()
  for row in rows:
    writer.writerow({name: _cell(value) for name, value in row.items()})
  _write_bytes(file.getvalue())


def _cell(value):
  value = _finite(value)
  if isinstance(value, dict | list | bool):
    return json.dumps(value)
  return value


def _write_bytes(text):
  """Prints text that may hold bytes of file names that are not UTF-8."""
  buffer = getattr(sys.stdout, 'buffer', None)
  if buffer is None:  # A program has put something else in its place.
    sys.stdout.write(text)
    return
  sys.stdout.flush()
  buffer.write(text.encode('utf-8', 'surrogateescape'))
  buffer.flush()


# Text -------------------------------------------------------------------------


def _table(rows):
  """Yields the lines of a table: names left, numbers right."""
  if not rows:
    return
  names = [*rows[0]]
  cells = [[_text(row[name]) for name in names] for row in rows]
  are_numbers = [
    all(isinstance(row[name], int | float | None) for row in rows)
    for name in names
  ]
  widths = [max(map(len, column)) for column in zip(names, *cells)]
  for line in [names, *cells]:
    padded = [
      cell.rjust(width) if is_number else cell.ljust(width)
      for cell, width, is_number in zip(line, widths, are_numbers)
    ]
    yield errors.shown('  '.join(padded).rstrip())


def _text(value):
  if value is None:
    return ''
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, int):
    return f'{value:,}'
  if isinstance(value, float):
    return f'{value:.6g}'
  if isinstance(value, dict):
    return ', '.join(f'{name}={inner}' for name, inner in value.items())
  if isinstance(value, list | tuple):
    return ', '.join(map(_text, value))
  return str(value)


def give_up():
  """Ends quietly where nobody reads what is printed, as behind `| head`.

  Returns:
    The exit status, as of a program that the signal SIGPIPE has ended.
  """
  nowhere = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, sys.stdout.fileno())  # For what is flushed at the end.
  return 141
