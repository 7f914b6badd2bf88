"""Patterns of parameter names, read and written by the same words.

`block_{layer}/{leaf}`: {leaf} stands for a word, any other placeholder for a
number; `{unit:02}` is written with at least two digits, and `{unit-1}` is
counted from zero where the other side of a table counts from one.
"""

import dataclasses
import functools
import re
import string

WORD, NUMBER = '[a-z]+', '[0-9]{1,4}'


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


def match(pattern, name):
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
  return values if fill(pattern, values) == name else None


def fill(pattern, values):
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
