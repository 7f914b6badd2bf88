"""Released names and ours: one reversible table per format.

A row pairs patterns of names and says how the arrays change. The first row that
matches counts; every name must find its row.

Patterns are read and written by the same words. `block_{layer}/{leaf}`: {leaf}
stands for a word, any other placeholder for a number; `{unit:02}` is written
with at least two digits, and `{unit-1}` is counted from zero where the other
side of a table counts from one.
"""

import dataclasses
import functools
import re
import string
from collections.abc import Callable

import numpy as np

from vit_jax import errors, pytrees

WORD, NUMBER = '[a-z]+', '[0-9]{1,4}'


class MappingError(errors.UserError):
  """Names that a table does not know, or arrays of the wrong shape."""


@dataclasses.dataclass(frozen=True)
class Transform:
  """How the arrays of a row change, both ways.

  to_ours: (their arrays, our shapes or None where unknown) -> our arrays.
  to_theirs: (our arrays) -> their arrays.

  Both also act on what `jax.eval_shape` gives them.
  """

  to_ours: Callable
  to_theirs: Callable


@dataclasses.dataclass(frozen=True)
class Row:
  """Which arrays of theirs hold the same values as which of ours."""

  theirs: tuple[str, ...]
  ours: tuple[str, ...]
  transform: Transform


SAME = Transform(lambda arrays, shapes: arrays, lambda arrays: arrays)


def row(theirs, ours, transform=SAME):
  """Returns a `Row`; a single pattern needs no tuple."""
  theirs, ours = (
    (names,) if isinstance(names, str) else names for names in (theirs, ours)
  )
  return Row(theirs, ours, transform)


def one_to_one(to_ours, to_theirs):
  """Returns the `Transform` that maps each array of a row by itself.

  Args:
    to_ours: (their array, our shape or None) -> our array.
    to_theirs: (our array) -> their array.
  """
  return Transform(
    lambda arrays, shapes: [to_ours(*pair) for pair in zip(arrays, shapes)],
    lambda arrays: [to_theirs(array) for array in arrays],
  )


def to_ours(flat, table, like, finish=lambda path, array: array):
  """Returns {our path: array} of {released name: array}.

  Args:
    flat: a mapping; each array is read once, one row at a time.
    table: rows.
    like: {path: array or shape} of our model; tells how to split heads. What
      it lacks is translated all the same.
    finish: (our path, our array) -> what is kept of it. It comes before the
      next row is read, so that only what it keeps piles up in memory.

  Raises:
    MappingError: lists every name without a row and every array that its row
      can't take.
  """

  def convert(row, arrays, paths):
    shapes = [like[path].shape if path in like else None for path in paths]
    arrays = row.transform.to_ours(arrays, shapes)
    return [finish(path, _own(array)) for path, array in zip(paths, arrays)]

  return _convert(flat, [(row.theirs, row.ours, row) for row in table], convert)


def to_theirs(flat, table):
  """Returns {released name: array} of {our path: array}; undoes `to_ours`.

  Raises:
    MappingError: as `to_ours`.
  """

  def convert(row, arrays, _):
    return row.transform.to_theirs(arrays)

  return _convert(flat, [(row.ours, row.theirs, row) for row in table], convert)


def _own(array):
  """Lays out anew what is a view, so that the array of the file can go."""
  if isinstance(array, np.ndarray):
    return np.asarray(array, order='C')
  return array


def _convert(flat, rows, convert):
  """Translates by `rows`: triples (source patterns, target patterns, row)."""
  result, given, wanted = {}, {}, {}
  left = dict.fromkeys(flat)
  for sources, targets, row in rows:
    for first in list(left):
      values = match_name(sources[0], first)
      if values is None:
        continue
      names = [fill_name(source, values) for source in sources]
      paths = [fill_name(target, values) for target in targets]
      missing = [name for name in names if name not in left]
      for name in names:
        left.pop(name, None)
      if missing:
        wanted.update(dict.fromkeys(missing, f'goes with {first}'))
      elif any(path in result for path in paths):
        given[first] = f'a second {paths[0]}'
      else:
        arrays = [flat[name] for name in names]
        try:
          result.update(zip(paths, convert(row, arrays, paths), strict=True))
        except (ValueError, TypeError) as error:
          for name, array in zip(names, arrays):
            given[name] = array.shape
            wanted[name] = f'to become {", ".join(paths)}; {error}'
  given.update(dict.fromkeys(left, 'of no known layer'))
  if given or wanted:
    lines = '\n'.join(pytrees.diff(given, wanted))
    raise MappingError(
      f'These names or shapes do not belong to this format:\n{lines}\n'
      'Choose the format and the model that the weights are of.'
    )
  return result


# Patterns of names ------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Placeholder:
  """A part of a name that varies."""

  name: str
  first: int  # What the other side adds to the number.
  form: str  # As of `format`.

  def expression(self):
    return f'(?P<{self.name}>{WORD if self.name == "leaf" else NUMBER})'

  def read(self, text):
    return text if self.name == 'leaf' else int(text) + self.first

  def write(self, value):
    value = value if self.name == 'leaf' else value - self.first
    return format(value, self.form)


def match_name(pattern, name):
  """Returns {placeholder: value} if `name` is of the pattern, else None."""
  found = _expression(pattern).fullmatch(name)
  if not found:
    return None
  values = {
    part.name: part.read(found[part.name])
    for part in _parts(pattern)
    if isinstance(part, Placeholder)
  }
  # Another spelling of the number, 01 for 1, is another name.
  return values if fill_name(pattern, values) == name else None


def fill_name(pattern, values):
  """Returns the name that has `values` in place of the placeholders."""
  return ''.join(
    part.write(values[part.name]) if isinstance(part, Placeholder) else part
    for part in _parts(pattern)
  )


@functools.cache
def _parts(pattern):
  """Returns the pattern as literal strings and placeholders, in turn."""
  parts = []
  for literal, placeholder, form, _ in string.Formatter().parse(pattern):
    parts.append(literal)
    if placeholder is not None:
      name, _, first = placeholder.partition('-')
      parts.append(Placeholder(name, int(first or 0), form))
  return parts


@functools.cache
def _expression(pattern):
  return re.compile(
    ''.join(
      part.expression() if isinstance(part, Placeholder) else re.escape(part)
      for part in _parts(pattern)
    )
  )
