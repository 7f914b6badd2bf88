"""What a run was asked to do, and which examples it could not use."""

from vit_jax import errors
from vit_jax.config import overrides, schema
from vit_jax.data import bad_examples as bad

MAX_EXAMPLES = 200


def configuration(config):
  """Returns [{'field', 'value', 'default', 'differs'}] of every field.

  Args:
    config: of the run, or None.
  """
  if config is None:
    return []
  default = overrides.flatten(schema.default())
  rows = []
  for field, value in overrides.flatten(config).items():
    texts = [_text(each) for each in (value, default[field])]
    rows.append(
      {
        'field': field,
        'value': errors.shown(texts[0]),
        'default': texts[1],
        'differs': texts[0] != texts[1],
      }
    )
  return rows


def _text(value):
  """Returns a value as it is written on the command line."""
  if value is None or isinstance(value, bool):
    return str(value).lower()
  return str(value)


def bad_examples(workdir):
  """Returns {'count', 'rows': [{'where', 'problem'}]}, the first ones.

  Raises:
    UserError: a list can't be read.
  """
  found = bad.problems(workdir)
  rows = [
    {'where': errors.shown(where), 'problem': errors.shown(problem)}
    for where, problem in found[:MAX_EXAMPLES]
  ]
  return {'count': len(found), 'rows': rows}
