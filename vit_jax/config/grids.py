"""Grids of hyperparameters, and all their combinations.

A grid is {field: values}. Fields that vary together, such as a number of steps
and its warm-up, are one entry: {'run.num_steps:optimizer.warmup_steps':
((500, 100), (2500, 200))}.
"""

import hashlib
import itertools

from vit_jax import errors
from vit_jax.config import listed, overrides, schema

_AND = ':'  # Between fields that vary together, and between their values.
_MAX_NAME = 200  # Bytes of the name of a folder; file systems take 255.


def parse(texts):
  """Returns the grid of texts 'FIELD=VALUE,VALUE' or 'A:B=1:2,3:4'.

  A value that holds a comma is in quotes or parentheses; of fields that vary
  together, one that holds a colon is in quotes: A:B='gs://a/b.npz':2.

  Raises:
    UserError: a text is not of that form, a field is unknown or comes twice, or
      a value does not fit its field.
  """
  grid, seen = {}, set()
  for text in texts:
    entry, equals, values = text.partition('=')
    if not equals or not values:
      raise errors.UserError(
        f'--sweep={text} does not fit; write --sweep=FIELD=VALUE,VALUE, as '
        '--sweep=optimizer.learning_rate=0.01,0.03.'
      )
    for field in entry.split(_AND):
      if field in seen:
        raise errors.UserError(f'--sweep gives values of {field} twice.')
      seen.add(field)
    grid[entry] = tuple(
      _values(entry, given) for given in listed.split(values, ',', _AND)
    )
  return grid


def check_overrides(grid, texts):
  """Finds what a grid would undo.

  Args:
    grid: a grid.
    texts: overrides '--config.FIELD=VALUE'.

  Raises:
    UserError: an override sets a field of the grid.
  """
  for field in (field for entry in grid for field in entry.split(_AND)):
    for text in texts:
      if text.partition('=')[0].partition('config.')[2] == field:
        raise errors.UserError(
          f'{text} has no effect: each run of the grid sets {field}. Leave it '
          f'out; `vit_jax sweep` takes other values as --sweep={field}=...'
        )


def combinations(grid):
  """Returns [{field: value}] of every combination, the last entry fastest.

  Raises:
    UserError: there are not as many values as fields that vary together.
  """
  choices = (
    [_pairs(entry, value) for value in values] for entry, values in grid.items()
  )
  return [
    dict(itertools.chain.from_iterable(chosen))
    for chosen in itertools.product(*choices)
  ]


def name(setting):
  """Returns the name of a combination, which is also valid for a folder."""
  parts = [f'{field}={value}' for field, value in setting.items()]
  whole = ','.join(parts).replace('/', '_') or 'as_given'
  encoded = whole.encode()
  if len(encoded) <= _MAX_NAME:
    return whole
  start = encoded[:_MAX_NAME].decode(errors='ignore')
  return f'{start}-{hashlib.sha256(encoded).hexdigest()[:16]}'


def apply(config, setting):
  """Returns the configuration with the fields of a setting set.

  Raises:
    UserError: a field is unknown, or a value does not fit it.
  """
  config = config.copy_and_resolve_references()
  for field, value in setting.items():
    overrides.assign(config, field, value, 'the grid')
  return config


def _pairs(entry, value):
  """Returns [(field, value)] of the fields of an entry."""
  names = entry.split(_AND)
  values = value if len(names) > 1 else (value,)
  if not isinstance(values, tuple | list) or len(values) != len(names):
    raise errors.UserError(
      f'{entry} are {len(names)} fields, which need as many values; given: '
      f'{value!r}. A value with a colon is in quotes.'
    )
  return list(zip(names, values))


def _values(entry, text):
  """Returns the value of an entry in a text, or a tuple of one per field."""
  given = tuple(listed.split(text, _AND)) if _AND in entry else text
  values = tuple(_value(*pair) for pair in _pairs(entry, given))
  return values if _AND in entry else values[0]


def _value(field, text):
  config = schema.default()
  overrides.override(config, f'--config.{field}={listed.unquoted(text)}')
  return schema.lookup(config, field)
