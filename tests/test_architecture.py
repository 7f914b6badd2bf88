"""The house stands: imports point down, rooms stay small, fields are read."""

import ast
import pathlib
import warnings

import pytest

import vit_jax
from vit_jax.config import schema

PACKAGE = pathlib.Path(vit_jax.__file__).parent
FILES = sorted(PACKAGE.rglob('*.py'))
FLOORS = (
  ('errors',),
  ('files', 'pytrees'),
  ('config', 'nn'),
  ('models', 'data', 'sharding', 'checkpoints'),
  ('weights', 'evaluation', 'inference', 'training', 'analysis', 'planning'),
  ('paper',),
  ('cli', '__init__'),
  ('__main__',),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
SAYS_NOTHING = ('utils', 'common', 'helpers', 'misc', 'base')


def parse(path):
  return ast.parse(path.read_text())


def room(path):
  """Returns the part of the package that a file belongs to."""
  parts = path.relative_to(PACKAGE).with_suffix('').parts
  return parts[0]


# Siblings that still know each other.
BAG = FLOORS[4]


def imported_rooms(path):
  """Yields what a file imports of ours, inside functions too."""
  for node in ast.walk(parse(path)):
    if isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.startswith('vit_jax.'):
          yield alias.name.split('.')[1]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: a relative import'
      if node.module == 'vit_jax':
        yield from (alias.name for alias in node.names)
      elif node.module and node.module.startswith('vit_jax.'):
        yield node.module.split('.')[1]


def functions(path):
  for node in ast.walk(parse(path)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      yield node.name, node.end_lineno - node.lineno + 1


def test_every_file_is_on_a_floor():
  assert {room(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_imports_point_down(path):
  here = room(path)
  for other in imported_rooms(path):
    assert FLOOR[other] <= FLOOR[here], f'{path} imports {other} from above'
    siblings = here not in BAG and other != here
    assert not (siblings and FLOOR[other] == FLOOR[here]), (
      f'{path} imports its sibling {other}'
    )


def test_imports_have_no_cycle():
  graph = {}
  for path in FILES:
    graph.setdefault(room(path), set()).update(imported_rooms(path))
  for start in graph.keys() - set(BAG):
    seen, ahead = set(), set(graph[start]) - {start}
    while ahead:
      name = ahead.pop()
      assert name != start, f'{start} imports itself by a detour'
      seen.add(name)
      ahead |= graph[name] - seen - {name}


def test_sizes_are_reported():
  """Warns of long files and functions: a smell to look into, not an error."""
  long = [
    f'{path.relative_to(PACKAGE)}: {length} lines'
    for path in FILES
    if (length := len(path.read_text().splitlines())) > 500
  ] + [
    f'{path.relative_to(PACKAGE)}: {name} has {length} lines'
    for path in FILES
    for name, length in functions(path)
    if length > 60
  ]
  if long:
    warnings.warn('\n'.join(['long:', *long]), stacklevel=1)


def test_names_say_something():
  for path in FILES:
    assert path.stem not in SAYS_NOTHING, path


def fields(config, prefix=''):
  for name, value in config.items():
    if hasattr(value, 'items'):
      yield from fields(value, f'{prefix}{name}.')
    else:
      yield prefix, name


def test_every_field_is_read_somewhere():
  read = set()
  for path in FILES:
    if path.stem == 'schema':
      text = path.read_text()
      tree = ast.parse(text[text.index('def lookup') :])
    else:
      tree = parse(path)
    read |= {
      node.attr
      for node in ast.walk(tree)
      if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
  # Read by name: models/vit.py replaces the fields of a size in a loop.
  read |= {'width', 'depth', 'num_heads', 'mlp_dim'}
  unread = {p + n for p, n in fields(schema.default()) if n not in read}
  assert not unread


def test_nothing_runs_code_from_files():
  forbidden = {'pickle', 'dill', 'cloudpickle', 'shelve', 'marshal'}
  for path in FILES:
    for node in ast.walk(parse(path)):
      if isinstance(node, ast.Import | ast.ImportFrom):
        names = {alias.name for alias in node.names} | {
          getattr(node, 'module', None)
        }
        assert not names & forbidden, path
      if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        assert node.func.id not in ('eval', 'exec', 'compile'), path
