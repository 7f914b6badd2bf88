"""A printed table, as text laid out like it and as numbers."""

import dataclasses
import re

_NUMBER = re.compile(r'([\d.]+)([kM]?)(?:±([\d.]+))?')
_FACTORS = {'': 1, 'k': 1_000, 'M': 1_000_000}


@dataclasses.dataclass(frozen=True)
class Number:
  """A number as it is printed.

  Attributes:
    text: all of it.
    value: its mean; 0.68k is 680.
    deviation: what follows the ±, or None.
  """

  text: str
  value: float
  deviation: float | None = None

  @property
  def decimals(self):
    """Number of printed decimals."""
    return len(self.text.partition('±')[0].rstrip('kM').partition('.')[2])


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of a paper.

  Attributes:
    title: what it shows, and where it is printed.
    columns: their names.
    cells: {(row, column): Number}, row by row; what is not printed is left out.
  """

  title: str
  columns: tuple[str, ...]
  cells: dict

  @property
  def rows(self):
    return tuple(dict.fromkeys(row for row, _ in self.cells))


def table(title, text):
  """Parses text with | between columns to a `Table`.

  Args:
    title: of the table.
    text: a line of column names, whose first is the name of the rows, and a
      line for each row; a - where nothing is printed.
  """
  header, *lines = (
    [part.strip() for part in line.split('|')]
    for line in text.strip().splitlines()
  )
  columns = tuple(header[1:])
  cells = {}
  for row, *values in lines:
    assert len(values) == len(columns), (title, row)
    cells.update(
      ((row, column), number(value))
      for column, value in zip(columns, values)
      if value != '-'
    )
  return Table(title, columns, cells)


def number(text):
  """Returns the `Number` of '88.55±0.04', '86M' or '2.5k'."""
  mean, unit, deviation = _NUMBER.fullmatch(text).groups()
  return Number(
    text, float(mean) * _FACTORS[unit], float(deviation) if deviation else None
  )
