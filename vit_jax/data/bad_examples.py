"""Examples that can not be used: counted, listed, and only so many borne."""

import json
import pathlib

from absl import logging

from vit_jax import errors, files


class BrokenShardError(errors.UserError):
  """A file of many records is broken: no example can stand in for them."""


def path(workdir, process_index):
  """Returns the file that a process of a run lists its bad examples in."""
  suffix = f'-{process_index}' if process_index else ''
  return pathlib.Path(workdir) / f'bad_examples{suffix}.jsonl'


class BadExamples:
  """What was wrong with which examples of one source.

  Args:
    source: see `sources`.
    max_share: of its examples may be bad; the next one is an error.
    path: of a JSONL file that lists them, a line each; None: no file. Lines
      that are there count as told, so a resumed run repeats none.
  """

  def __init__(self, source, max_share, path=None):
    self._source = source
    self._max_share = max_share
    self._path = path and pathlib.Path(path)
    self._found = set()
    lines = files.read_lines(self._path) if self._path else []
    self._told = {where for line in lines if (where := _where(line))}

  def add(self, index, problem):
    """Counts example `index`, once however often it comes.

    Raises:
      UserError: that is more than may be bad.
    """
    self._found.add(index)
    self._tell(index, problem)
    count, total = len(self._found), len(self._source)
    if count > self._max_share * total:
      listed = f' {self._path} lists them.' if self._path else ''
      raise errors.UserError(
        f'{problem} That makes {count} bad of {total:,} examples, more than '
        f'data.max_bad_fraction={self._max_share:g} allows.{listed} Mend or '
        'remove them, or allow more.'
      )

  def _tell(self, index, problem):
    where = self._source.where(index)
    if where in self._told:
      return
    self._told.add(where)
    logging.warning('Left out: %s', problem)
    if self._path:
      line = {'index': int(index), 'where': where, 'problem': problem}
      files.append_line(self._path, json.dumps(line))


def _where(line):
  """Returns which example a line is about; None if a crash cut it short."""
  try:
    return json.loads(line)['where']
  except ValueError:
    return None
