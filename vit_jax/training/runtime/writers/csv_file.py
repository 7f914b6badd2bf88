"""metrics.csv in the folder of a run: a row per step, for spreadsheets.

The columns are `step`, `train/loss`, `eval/accuracy`, ... in the order in which
they first had a value. A metric that comes later is a column more, at the end:
read columns by name. Empty: not measured at that step; nan: not finite.
"""

import contextlib
import csv
import io

from vit_jax import files

FILE = 'metrics.csv'
_NOT_FINITE = 'nan'


class CsvFile:
  """A writer (see `writers`) that holds what metrics.jsonl does, as a table.

  A row of the known columns is appended. A new column, or an evaluation at a
  step that has a row, writes the file anew, whole or not at all; so does a
  resumed run, with the records that count.
  """

  def __init__(self, run):
    self._path = run.folder / FILE
    self._say = run.say
    self._columns = ['step']
    self._rows = {}  # {step: {column: text}}, in the order of the steps.
    self._is_whole = True  # It holds all rows.

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if not self._is_whole:
      self._rewrite()

  def start(self, step, records):
    del step
    self._columns, self._rows = ['step'], {}
    for record in records:
      self._add(record)
    self._rewrite()

  def write(self, record):
    num_rows, num_columns = len(self._rows), len(self._columns)
    row = self._add(record)
    is_new = len(self._rows) > num_rows
    if is_new and len(self._columns) == num_columns and self._is_whole:
      with self._tolerant():
        files.append_line(self._path, self._lines([row]).rstrip('\n'))
    else:
      self._rewrite()

  def timings(self, step, values):
    """Timings are not written: the file depends on no machine."""

  def _add(self, record):
    """Returns the row of the step of a record, with the record in it."""
    row = self._rows.setdefault(record['step'], {'step': record['step']})
    for name, value in record.items():
      if name in ('step', 'split'):
        continue
      column = f'{record["split"]}/{name}'
      if column not in self._columns:
        self._columns.append(column)
      row[column] = _NOT_FINITE if value is None else value
    return row

  def _rewrite(self):
    header = dict(zip(self._columns, self._columns))
    text = self._lines([header, *self._rows.values()])
    with self._tolerant():
      files.write_text(self._path, text)

  def _lines(self, rows):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    for row in rows:
      writer.writerow([row.get(column, '') for column in self._columns])
    return stream.getvalue()

  @contextlib.contextmanager
  def _tolerant(self):
    """A full disk is no reason to stop: the rows are kept for later."""
    try:
      yield
      self._is_whole = True
    except OSError as error:
      if self._is_whole:
        self._say(f'{self._path} cannot be written ({error}); continuing')
      self._is_whole = False
