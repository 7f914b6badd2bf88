"""The paths in a configuration, written so that they mean the same anywhere.

`~` is the home directory, and a relative path becomes absolute: the config.json
of a run is read from other folders, too.
"""

import os
import pathlib
import re

FILES = ('folder', 'arrays')  # Sources whose data set is a path.

_PART = re.compile(r'(.+)(@\d+(?:\.\d+)?)')  # Of a mixture, with its weight.
_NAMED = re.compile(r'(.*?)(:\w+)?')  # A file or a run, and what of it.


def expand(path):
  """Returns the path with `~` replaced by the home directory."""
  return os.path.expanduser(path)


def absolute(path):
  """Returns the absolute path; a URL is left as it is."""
  path = os.fspath(path)
  return path if '://' in path else os.path.abspath(expand(path))


def resolve(flat):
  """Returns {field: value} of a configuration, its paths absolute.

  Of `init`, only what exists here is a path: it may be a catalogue name, too.
  """
  make = {'data.data_dir': absolute, 'init': _weights}
  if flat.get('data.source') in FILES:
    make['data.dataset'] = _dataset
  return {
    field: make[field](value) if field in make and value else value
    for field, value in flat.items()
  }


def _dataset(dataset):
  """Returns a path, or a mixture of them, as photos@2+more@1."""
  if os.path.exists(expand(dataset)):
    return absolute(dataset)
  parts = [_PART.fullmatch(part.strip()) for part in dataset.split('+')]
  if not all(parts):
    return absolute(dataset)
  return '+'.join(absolute(part[1]) + part[2] for part in parts)


def _weights(init):
  path, part = _NAMED.fullmatch(init).groups('')
  for file, rest in (init, ''), (path, part):
    if pathlib.Path(expand(file)).exists():
      return absolute(file) + rest
  return expand(init)
