"""The house stands: imports point down, rooms stay small, fields are read."""

import ast
import graphlib
import pathlib
import warnings

import pytest

import vit_jax
from vit_jax.config import schema

PACKAGE = pathlib.Path(vit_jax.__file__).parent
FILES = sorted(PACKAGE.rglob('*.py'))
# Bottom up. Who imports goes down; siblings on a floor do not know each other.
FLOORS = (
  ('errors',),
  ('files', 'plugins', 'pytrees'),
  ('config', 'nn', 'checkpoints'),
  ('models', 'data', 'sharding'),
  ('weights',),
  ('evaluation', 'inference'),
  ('training',),
  ('analysis', 'planning'),
  ('paper',),
  ('cli', 'api'),
  ('__init__',),
)
TRAINING_FLOORS = (
  ('runtime',),
  ('optim', 'objectives'),
  ('train_step',),
  ('assembly',),
  (
    *('best_step', 'initialization', 'overview', 'plots', 'progress'),
    *('splits', 'validation'),
  ),
  ('preview', 'session'),
  ('train',),
  ('trials',),
  ('tasks',),
  ('sweep', '__init__'),
)
SAYS_NOTHING = ('utils', 'common', 'helpers', 'misc', 'base')


def parse(path):
  return ast.parse(path.read_text())


def place(path):
  """Returns where a file is in the package, as ('training', 'session')."""
  return path.relative_to(PACKAGE).with_suffix('').parts


def imported(path):
  """Yields what a file imports of ours, as `place`, inside functions too."""
  for node in ast.walk(parse(path)):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: a relative import'
      names = [f'{node.module}.{alias.name}' for alias in node.names]
    else:
      continue
    for name in names:
      package, *parts = name.split('.')
      if package == PACKAGE.name and parts:
        yield tuple(parts)


def entries(folder):
  """Returns the names of the modules and packages in a folder."""
  return {path.stem for path in folder.glob('*.py')} | {
    path.parent.name for path in folder.glob('*/*.py')
  }


def level(floors):
  return {name: floor for floor, names in enumerate(floors) for name in names}


def check_points_down(path, other, floors):
  """Checks an import by the first names, at which the places differ."""
  levels = level(floors)
  here, there = (each[0] if each else '__init__' for each in (path, other))
  if here != there:
    assert there in levels, f'{"/".join(path)} imports {there}: on no floor'
    assert levels[there] < levels[here], (
      f'{"/".join(path)} imports {there}, which is not below {here}'
    )


def module(parts):
  """Returns the file that an import is of: a module, or its package's own."""
  for end in len(parts), len(parts) - 1:
    path = PACKAGE.joinpath(*parts[:end])
    for file in path.with_suffix('.py'), path / '__init__.py':
      if file.is_file():
        return file
  raise AssertionError(f'nothing is called {".".join(parts)}')


def functions(path):
  for node in ast.walk(parse(path)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      yield node.name, node.end_lineno - node.lineno + 1


def test_every_file_is_on_a_floor():
  assert {place(path)[0] for path in FILES} == entries(PACKAGE)
  assert entries(PACKAGE) == set(level(FLOORS))
  assert entries(PACKAGE / 'training') == set(level(TRAINING_FLOORS))


@pytest.mark.parametrize('path', FILES, ids=lambda path: '/'.join(place(path)))
def test_imports_point_down(path):
  here = place(path)
  for other in imported(path):
    check_points_down(here, other, FLOORS)
    if here[0] == other[0] == 'training':
      check_points_down(here[1:], other[1:], TRAINING_FLOORS)


def test_imports_have_no_cycle():
  graph = {path: {module(parts) for parts in imported(path)} for path in FILES}
  sorter = graphlib.TopologicalSorter(
    {path: others - {path} for path, others in graph.items()}
  )
  sorter.prepare()  # Raises, and names the cycle.


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


# Where it is asked which devices there are: everybody else is told.
ASK_FOR_DEVICES = {
  ('checkpoints', 'step_folder'),  # Any device will do.
  ('planning', 'topology'),
  ('sharding', 'mesh'),
}


def test_nobody_chooses_by_what_platform_jax_has_started_on():
  questions = ('devices', 'local_devices', 'device_count', 'default_backend')
  asking = {
    place(path)
    for path in FILES
    for node in ast.walk(parse(path))
    if isinstance(node, ast.Attribute)
    and node.attr in questions
    and isinstance(node.value, ast.Name)
    and node.value.id == 'jax'
  }
  assert asking == ASK_FOR_DEVICES
