"""Records of results, one per line: evaluations.jsonl.

A JSON object per line: the metadata (evaluator, weights, data, recipe and code)
and the values.
"""

import hashlib
import importlib.metadata
import json
import math
import pathlib

import jax

import vit_jax
from vit_jax import files

FILE = 'evaluations.jsonl'
_PACKAGES = ('flax', 'grain', 'jax', 'jaxlib', 'numpy', 'optax')


def append(path, metadata, values):
  """Appends a record; of several processes the first one writes.

  Args:
    path: of the file; need not exist.
    metadata: {name: JSON value}, which describes the values.
    values: {name: number}.

  Raises:
    UserError: the file can't be written.
  """
  if jax.process_index():
    return
  numbers = {
    name: value if math.isfinite(value) else None
    for name, value in values.items()
  }
  line = json.dumps({**metadata, 'values': numbers}, allow_nan=False)
  with files.reported(path):
    files.append_line(path, line)


def read(path):
  """Returns the records of a file, each a dict; [] where there is no file.

  Values that are not finite are nan. Lines truncated by a crash are left out.
  """
  return [found for line in files.read_lines(path) if (found := _parse(line))]


def find(path, metadata):
  """Returns the values of the newest record with this metadata, or None."""
  for found in reversed(read(path)):
    if all(found.get(name) == value for name, value in metadata.items()):
      return found['values']
  return None


def code_version():
  """Returns a digest of this package's code and of the packages it uses.

  Recipes don't count: an installed package contains them, a checkout doesn't.
  """
  digest = hashlib.sha256()
  for name in _PACKAGES:
    digest.update(f'{name} {importlib.metadata.version(name)}\n'.encode())
  package = pathlib.Path(vit_jax.__file__).parent
  for path in sorted(package.rglob('*.py')):
    if package / 'configs' in path.parents:
      continue
    digest.update(str(path.relative_to(package)).encode())
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]


def _parse(line):
  try:
    found = files.parse_json(line)
    values = found['values'].items()
  except (ValueError, TypeError, KeyError, AttributeError):
    return None
  found['values'] = {
    name: math.nan if value is None else value for name, value in values
  }
  return found
