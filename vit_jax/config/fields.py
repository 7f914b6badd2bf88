"""What there is to configure: every field with its type, bounds and comment.

`schema` is the page that people read, and the only place where a field is
described; here, the same is data, for `vit_jax config` and the documentation.
"""

import ast
import dataclasses
import functools
import inspect
import io
import textwrap
import tokenize
from typing import Any

from vit_jax import errors
from vit_jax.config import overrides, schema, validation


@dataclasses.dataclass(frozen=True)
class Field:
  """A field of the configuration.

  Attributes:
    name: with its group, as in 'run.batch_size'.
    kind: the values that it takes, in words.
    default: its value in `schema.default()`.
    comment: what `schema` says of it.
    choices: the names that it takes, or None: it is no choice by name.
    bounds: (smallest, largest) number that it takes, or None.
  """

  name: str
  kind: str
  default: Any
  comment: str
  choices: tuple[str, ...] | None
  bounds: tuple[float, float] | None


def matching(pattern='*', choices=None):
  """Returns the `Field`s whose names fit a pattern, in the order of `schema`.

  Args:
    pattern: as of files, 'optimizer.*' or '*learning_rate*'; the name of a
      group stands for all in it, and a name without its group for the field.
    choices: {field: names that it takes}; see `training.assembly.CHOICES`.

  Raises:
    UserError: there are none; it names the nearest.
  """
  choices = choices or {}
  defaults = overrides.flatten(schema.default())
  told = comments()
  return [
    Field(
      name,
      overrides.kind(name),
      defaults[name],
      told[name],
      tuple(choices[name]) if name in choices else None,
      validation.RANGES.get(name),
    )
    for name in _names(pattern, told)
  ]


def table(found, config=None):
  """Returns the fields as dicts of what JSON can hold.

  Args:
    found: `Field`s.
    config: a configuration, whose values are told, too.
  """
  rows = []
  for field in found:
    row = {'field': field.name}
    if config is not None:
      value = schema.lookup(config, field.name)
      row |= {'value': value, 'is_default': value == field.default}
    low, high = field.bounds or (None, None)
    row |= {
      'default': field.default,
      'type': field.kind,
      'choices': field.choices,
      'min': low,
      'max': high,
      'comment': field.comment,
    }
    rows.append(row)
  return rows


def text(found, config=None):
  """Returns the fields as people read them.

  Args:
    found: `Field`s.
    config: a configuration; its values are told in place of the explanations,
      and those that differ from the defaults are marked.
  """
  if config is None:
    return '\n\n'.join(map(_explained, found))
  lines = []
  for field in found:
    value = schema.lookup(config, field.name)
    line = f'  {field.name} = {value}'
    if value != field.default:
      line = f'* {line[2:]}  (default: {field.default})'
    lines.append(line)
  return '\n'.join(lines)


def _explained(field):
  lines = [f'{field.name} = {field.default}']
  fits = field.kind
  if field.choices:
    fits = f'one of {", ".join(field.choices)}'
  if field.bounds:
    low, high = (
      f'{bound:,}' if isinstance(bound, int) else f'{bound:g}'
      for bound in field.bounds
    )
    fits += f', from {low} to {high}'
  paragraphs = [fits, field.comment]
  for paragraph in paragraphs:
    lines += textwrap.wrap(
      paragraph, 78, initial_indent='  ', subsequent_indent='  '
    )
  return '\n'.join(lines)


def _names(pattern, known):
  group = [name for name in known if name.startswith(f'{pattern}.')]
  leaves = [name for name in known if name.endswith(f'.{pattern}')]
  exact = [pattern] if pattern in known else []
  return exact or group or leaves or errors.matching('field', pattern, known)


@functools.cache
def comments():
  """Returns {field: comment} as `schema` has them behind its assignments."""
  source = inspect.getsource(schema)
  tree = ast.parse(source)
  functions = {
    node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)
  }
  lines = dict(_comment_lines(source))
  return {
    name: _joined(lines, node)
    for name, node in _assignments(functions, 'default', '')
  }


def _assignments(functions, function, prefix):
  """Yields (field, assignment) of what a function of `schema` fills in."""
  for node in functions[function].body:
    match node:
      case ast.Assign(
        targets=[ast.Attribute(attr=name)],
        value=ast.Call(func=ast.Name(id=inner)),
      ) if inner in functions:
        yield from _assignments(functions, inner, f'{prefix}{name}.')
      case ast.Assign(targets=[ast.Attribute(attr=name)]):
        yield f'{prefix}{name}', node


def _comment_lines(source):
  """Yields (line, (comment, whether there is nothing else on the line))."""
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      is_alone = token.line.lstrip().startswith('#')
      yield token.start[0], (token.string.lstrip('# '), is_alone)


def _joined(lines, node):
  """Returns the comment behind an assignment and on the lines below it."""
  end = node.end_lineno
  texts = [lines[n][0] for n in range(node.lineno, end + 1) if n in lines]
  while lines.get(end + 1, ('', False))[1]:
    end += 1
    texts.append(lines[end][0])
  return ' '.join(texts)
