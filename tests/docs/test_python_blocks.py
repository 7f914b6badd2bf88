"""The Python in README and pages runs, one block of a page after the other.

Word for word: names of released weights lead to small random files, which lie
where the released ones are once they have been fetched. Blocks below
`<!-- not run: REASON -->` are parsed, and the names that they take from modules
exist.
"""

import ast
import contextlib
import dataclasses
import importlib
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.files import cache
from vit_jax.weights import catalog, formats, mapping
from vit_jax.weights.catalog import sizes
from vit_jax.weights.files import download, npz

SITE = runpy.run_path(str(pathlib.Path(__file__).with_name('pages.py')))
PAGES = {
  path.relative_to(SITE['ROOT']).as_posix(): SITE['python_blocks'](text)
  for path, text in SITE['sources']().items()
}
PAGES = {name: blocks for name, blocks in PAGES.items() if blocks}


TINY = {'width': 16, 'depth': 3, 'num_heads': 2, 'mlp_dim': 16}
SIDE = 64  # Pixels.
# Packages whose names are checked; those of timm are in tests/parity.
KNOWN = ('vit_jax', 'jax', 'optax', 'PIL')


def write_weights(name, folder):
  """Writes random weights where the cache has the released ones."""
  entry = catalog.get(name)
  model = schema.default().model
  model.update(name=entry.model, **dict(entry.fields), **TINY)
  module = models.build(model, entry.num_classes)
  shapes = models.params_of(module, (SIDE, SIDE))
  rng = np.random.default_rng(0)
  flat = {
    path: 0.2 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in pytrees.flatten(shapes).items()
  }
  rows = formats.writer(entry.model, entry.format).rows(flat)
  path = download.path_of(entry.address, folder)
  path.parent.mkdir(parents=True, exist_ok=True)
  npz.save(path, mapping.to_theirs(flat, rows))


@pytest.fixture
def home(tmp_path, monkeypatch):
  """A folder with two images, and all released weights of the pages."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv(cache.VARIABLE, str(tmp_path / 'cache'))
  text = ''.join(code for blocks in PAGES.values() for code, _ in blocks)
  for name in catalog.ENTRIES:
    if f"'{name}'" in text:
      write_weights(name, tmp_path / 'cache')
      # What the model is, the small file says itself.
      entry = dataclasses.replace(
        catalog.get(name), model=None, resolution=SIDE
      )
      monkeypatch.setitem(catalog.ENTRIES, name, entry)
      monkeypatch.delitem(sizes.NUM_PARAMETERS, name)
  for name in 'cat.jpg', 'dog.jpg':
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
  return tmp_path


@pytest.mark.parametrize(
  'name',
  [
    name
    for name, blocks in PAGES.items()
    if not all(reason for _, reason in blocks)
  ],
)
def test_the_blocks_of_a_page_run(name, home):
  scope = {}
  for code, reason in PAGES[name]:
    program = compile(code, name, 'exec')
    if not reason:
      exec(program, scope)


@pytest.mark.parametrize('name', PAGES)
def test_what_blocks_take_from_modules_exists(name):
  before = ''  # What is imported above counts below.
  for code, _ in PAGES[name]:
    before += code
    assert not [*missing(ast.parse(before))]


def missing(tree):
  """Yields the attributes of modules that there are not, where we know them."""
  modules = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for name in node.names:
        top = name.name.partition('.')[0]
        modules[name.asname or top] = name.name if name.asname else top
    elif isinstance(node, ast.ImportFrom):
      for name in node.names:
        path = f'{node.module}.{name.name}'
        package = found(node.module)
        if package and not hasattr(package, name.name) and not found(path):
          yield path
        modules[name.asname or name.name] = path
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute):
      first, *names = ast.unparse(node).split('.')
      value = found(modules.get(first, ''))
      for position, name in enumerate(names):
        if value is None or not name.isidentifier():
          break
        if not hasattr(value, name):
          yield '.'.join([first, *names[: position + 1]])
          break
        value = getattr(value, name)


def found(path):
  """Returns a module of `KNOWN`, or None."""
  if path.partition('.')[0] not in KNOWN:
    return None
  with contextlib.suppress(ImportError):
    return importlib.import_module(path)
  return None


def test_what_takes_a_line_here_takes_no_less_with_timm():
  text = SITE['sources']()[SITE['DOCS'] / 'python.md']
  section = text.partition('## Beside timm')[2].partition('\n## ')[0]
  blocks = [code for code, _ in SITE['python_blocks'](section)]
  lines = [len(code.strip().splitlines()) for code in blocks]
  assert len(lines) >= 12
  for ours, theirs in zip(lines[::2], lines[1::2], strict=True):
    assert ours <= theirs


@pytest.mark.parametrize(
  'code',
  [
    'import vit_jax; vit_jax.nothing()',
    'from vit_jax import nothing',
    'from vit_jax.weights import loading; loading.nothing(1)',
    'from vit_jax.weights import loading as l; x = [l.nothing for _ in "ab"]',
    'import jax.numpy as jnp; jnp.linalg.nothing(jnp.zeros(3))',
  ],
)
def test_a_name_that_there_is_not_is_noticed(code):
  assert [*missing(ast.parse(code))]
