"""The fields of a configuration by dotted name: their types, and setting them.

The type of a field is inferred from `schema.default()`: that of its default,
and also none where the default is None.
"""

import difflib
import functools
import math
import re

from absl import flags
from ml_collections import config_dict, config_flags

from vit_jax import errors
from vit_jax.config import schema, versions


def flatten(config):
  """Returns {'run.batch_size': value} of a configuration or a nested dict."""
  flat = {}
  for name, value in config.items():
    if isinstance(value, (dict, config_dict.ConfigDict)):
      inner = flatten(value)
      flat.update({f'{name}.{field}': inner[field] for field in inner})
    else:
      flat[name] = value
  return flat


def unflatten(flat, source):
  """Returns the locked configuration that has exactly the fields given.

  Args:
    flat: {'run.batch_size': value}; lists stand for tuples, as in JSON.
    source: where the values come from; for error messages.

  Raises:
    UserError: a field is unknown, missing or of the wrong type.
  """
  config = schema.default()
  for field, value in flat.items():
    assign(config, field, value, source)
  missing = sorted(flatten(config).keys() - flat.keys())
  if missing:
    raise errors.UserError(
      f'{source} lacks {", ".join(missing)}. A configuration starts from '
      'schema.default(), which has every field.'
    )
  return config


def assign(config, field, value, source):
  """Sets one field, after checking its name and type.

  Raises:
    UserError: names the field, what fits, and the nearest field.
  """
  sample, nullable = _sample(field, source)
  if value is not None or not nullable:
    try:
      value = _cast(value, sample)
    except (TypeError, OverflowError) as error:
      raise errors.UserError(
        f'{source}: {field}={value!r} does not fit; it is {kind(field)}.'
      ) from error
  renamed = versions.RENAMED_VALUES.get(field, {})
  if value in renamed:
    raise errors.UserError(
      f'{source}: {field}={value} is now called {renamed[value]}.'
    )
  group, leaf = _group(config, field)
  group[leaf] = value


def override(config, argument):
  """Sets the field that '--config.FIELD=VALUE' names.

  Raises:
    UserError: names the field, what fits, and the nearest field.
  """
  match = re.fullmatch(r'--(?:no)?config\.([^=]+)(?:=(.*))?', argument, re.S)
  if not match:
    raise errors.UserError(
      f'{argument} is not an override; write --config.FIELD=VALUE, '
      'as in --config.run.batch_size=8.'
    )
  field, text = match.groups()
  sample, nullable = _sample(field, argument)
  if nullable and text and text.lower() == 'none':
    assign(config, field, None, argument)
    return
  value = _parse(field, argument)
  if isinstance(sample, tuple) and isinstance(sample[0], str):
    names = (part for each in value for part in str(each).split(','))
    value = tuple(name.strip() for name in names if name.strip())
  assign(config, field, value, argument)


def is_switch(field):
  """Returns whether a field is true or false; an unknown one is not."""
  return type(flatten(_defaults()).get(field)) is bool


def kind(field):
  """Describes the values that a field accepts."""
  sample, nullable = _sample(field, 'kind')
  kinds = {
    bool: 'true or false',
    int: 'an int',
    float: 'a finite float',
    str: 'a str',
  }
  text = kinds.get(type(sample), f'a tuple such as {sample}')
  return f'{text}, or none' if nullable else text


def nearest(field):
  """Returns a sentence that names the fields most like `field`."""
  known = flatten(schema.default())
  groups = sorted({name.partition('.')[0] for name in known})
  group, _, leaf = field.rpartition('.')
  if field in groups:
    inside = [name for name in known if name.startswith(f'{field}.')]
    return f'It is a group of fields: {", ".join(inside)}.'
  # The right name in the wrong group, else a wrong name in the right group.
  candidates = [name for name in known if name.rpartition('.')[2] == leaf] or [
    name for name in known if group and name.startswith(f'{group}.')
  ]
  if not candidates:
    candidates = difflib.get_close_matches(field, [*groups, *known], cutoff=0.5)
  return errors.nearest(field, candidates or groups)


@functools.cache
def _defaults():
  return schema.default()  # Read only.


def _sample(field, source):
  """Returns a value of the type of a field, and whether None fits too."""
  defaults = _defaults()
  if field in versions.RENAMED:
    raise errors.UserError(
      f'{source}: {field} is now called {versions.RENAMED[field]}.'
    )
  if field not in flatten(defaults):
    raise errors.UserError(
      f'{source}: {field} is not a field. {nearest(field)}'
    )
  group, leaf = _group(defaults, field)
  if group[leaf] is None:
    return group.get_type(leaf)(), True
  return group[leaf], False


def _group(config, field):
  section, _, leaf = field.rpartition('.')
  return schema.lookup(config, section) if section else config, leaf


def _parse(field, argument):
  """Returns the value that ml_collections reads from one override.

  Each is parsed on its own, so that the last of a repeated field wins.
  """
  values = flags.FlagValues()
  argv = ['vit_jax', argument]
  try:
    config_flags.DEFINE_config_dict(
      'config', schema.default(), flag_values=values, sys_argv=argv
    )
    values(argv)
  except (flags.Error, ValueError, TypeError, SyntaxError) as error:
    raise errors.UserError(
      f'{argument} does not fit; {field} is {kind(field)}.'
    ) from error
  return schema.lookup(values['config'].value, field)


def _cast(value, sample):
  """Returns the value in the type of the sample; an int is also a float.

  A tuple of one type may have any length; one of mixed types is a record.

  Raises:
    TypeError: it is of another type, or not finite.
  """
  if isinstance(sample, tuple):
    if not isinstance(value, (tuple, list)):
      raise TypeError(value)
    if len({type(item) for item in sample}) == 1:
      return tuple(_cast(item, sample[0]) for item in value)
    if len(value) != len(sample):
      raise TypeError(value)
    return tuple(_cast(item, wanted) for item, wanted in zip(value, sample))
  wanted = type(sample)
  if isinstance(value, bool) != (wanted is bool):
    raise TypeError(value)
  if wanted is float and isinstance(value, int):
    value = float(value)
  if not isinstance(value, wanted):
    raise TypeError(value)
  if wanted is float and not math.isfinite(value):
    raise TypeError(value)
  return wanted(value)
