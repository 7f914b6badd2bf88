"""Examples that can't be used: counted, listed, and tolerated up to a limit."""

import contextlib
import json

from absl import logging

from vit_jax import errors, files


class BrokenShardError(errors.UserError):
  """A file of many records is broken: they cannot all be replaced."""


def path(workdir, process_index):
  """Returns the file in which a process of a run lists its bad examples."""
  suffix = f'-{process_index}' if process_index else ''
  return files.path(workdir) / f'bad_examples{suffix}.jsonl'


def listed(workdir):
  """Returns the keys of the examples that the processes of a run have listed.

  See `sources`; older versions have listed `where` they were.
  """
  found = files.path(workdir).glob('bad_examples*.jsonl')
  lines = [line for path in found for line in files.read_lines(path)]
  return {key for line in lines if (key := _key(line))}


def problems(workdir):
  """Returns [(where, problem)] of what the processes of a run have listed.

  Raises:
    UserError: a file can't be read.
  """
  found = {}
  for path in sorted(files.path(workdir).glob('bad_examples*.jsonl')):
    for line in files.read_lines(path):
      with contextlib.suppress(ValueError, TypeError, KeyError):  # Cut short.
        fields = files.parse_json(line)
        found[str(fields['where'])] = str(fields['problem'])
  return list(found.items())


class BadExamples:
  """The bad examples of one source, and what is wrong with each.

  Those that the source has as `excused` are known, and do not count.

  Args:
    source: see `sources`.
    max_fraction: of its examples may be bad; more is an error.
    path: of a JSONL file that lists them, one per line; None: no file. Existing
      lines are not repeated, as by a resumed run.
  """

  def __init__(self, source, max_fraction, path=None):
    self._source = source
    self._max_fraction = max_fraction
    self._path = path and files.path(path)
    self._found = set()
    self._excused = getattr(source, 'excused', frozenset())
    lines = files.read_lines(self._path) if self._path else []
    self._reported = {key for line in lines if (key := _key(line))}

  def add(self, index, problem):
    """Counts example `index`, once however often it occurs.

    Raises:
      UserError: there are more bad examples than allowed.
    """
    if index in self._excused:
      return
    self._found.add(index)
    self._report(index, problem)
    count, total = len(self._found), len(self._source)
    if count > self._max_fraction * total:
      listed = f' {self._path} lists them.' if self._path else ''
      raise errors.UserError(
        f'{problem} That makes {count} bad of {total:,} examples, more than '
        f'data.max_bad_fraction={self._max_fraction:g} allows.{listed} '
        f'{self._advice()}'
      )

  def _advice(self):
    more = 'allow more by --config.data.max_bad_fraction'
    parts = getattr(self._source, 'parts', (self._source,))
    if all(hasattr(part, 'excused') for part in parts):  # Of files.
      return f'Mend or remove these files, or {more}.'
    return f'Mend the data set for a new run, or {more}.'

  def _report(self, index, problem):
    where, key = self._source.where(index), self._source.key(index)
    if not self._reported.isdisjoint((where, key)):
      return
    self._reported.add(key)
    logging.warning('Left out: %s', errors.shown(problem))
    if self._path:
      line = {'index': int(index), 'where': where, 'problem': problem}
      if key != where:
        line['key'] = key
      with files.reported(self._path):
        files.append_line(self._path, json.dumps(line))


def _key(line):
  """Returns which example a line is about; None if truncated by a crash.

  Wherever the data set lies, an example has the same `key`.
  """
  try:
    fields = files.parse_json(line)
    return str(fields.get('key', fields['where']))
  except (ValueError, AttributeError, KeyError):
    return None
