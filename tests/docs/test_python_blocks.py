"""The Python in README and pages runs, one block of a page after the other.

Those below `<!-- not run: REASON -->` are parsed, and the names that they take
from vit_jax exist.
"""

import ast
import importlib
import pathlib
import runpy

import pytest

SITE = runpy.run_path(str(pathlib.Path(__file__).with_name('pages.py')))
PAGES = {
  path.relative_to(SITE['ROOT']).as_posix(): SITE['python_blocks'](text)
  for path, text in SITE['sources']().items()
}
PAGES = {name: blocks for name, blocks in PAGES.items() if blocks}


@pytest.mark.parametrize('name', PAGES)
def test_the_blocks_of_a_page_run(name):
  scope = {}
  for code, reason in PAGES[name]:
    program = compile(code, name, 'exec')
    if not reason:
      exec(program, scope)


@pytest.mark.parametrize('name', PAGES)
def test_what_blocks_take_from_the_package_exists(name):
  for code, _ in PAGES[name]:
    assert not [*missing(ast.parse(code))]


def missing(tree):
  """Yields the attributes of modules of vit_jax that there are not."""
  modules = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for name in node.names:
        if name.name.partition('.')[0] == 'vit_jax':
          modules[name.asname or 'vit_jax'] = 'vit_jax'
    elif isinstance(node, ast.ImportFrom) and 'vit_jax' in (node.module or ''):
      package = importlib.import_module(node.module)
      for name in node.names:
        path = f'{node.module}.{name.name}'
        if not hasattr(package, name.name) and not found(path):
          yield path
        modules[name.asname or name.name] = path
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
      path = modules.get(node.value.id)
      if path and found(path) and not hasattr(found(path), node.attr):
        yield f'{path}.{node.attr}'


def found(path):
  try:
    return importlib.import_module(path)
  except ModuleNotFoundError:
    return None


@pytest.mark.parametrize(
  'code',
  [
    'import vit_jax; vit_jax.nothing()',
    'from vit_jax import nothing',
    'from vit_jax.weights import loading; loading.nothing(1)',
    'from vit_jax.weights import loading as l; x = [l.nothing for _ in "ab"]',
  ],
)
def test_a_name_that_there_is_not_is_noticed(code):
  assert [*missing(ast.parse(code))]
