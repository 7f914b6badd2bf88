"""Pages tell the truth: what they name exists, what they show can be run.

Python blocks and links: tests/docs/.
"""

import ast
import pathlib
import re
import shlex

import pytest
from PIL import Image

from vit_jax.cli import parsing
from vit_jax.config import recipes

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').glob('*.md'))]
PAGES += [ROOT / 'configs/README.md', ROOT / 'launch/README.md']
PAGES += sorted((ROOT / 'configs').glob('**/*.py'))
# What a command, a run or `make docs` makes, and placeholders.
MADE = ('workdir/', '/data/', '<', 'docs/_build', 'docs/reference')
PLACEHOLDER = re.compile(r'/X\.py$')  # Of docs/add_a_model.md.
TOP = tuple(path.name for path in ROOT.iterdir() if path.is_dir())


def named_paths(text):
  for path in re.findall(r'`([^`\n]+)`', text):
    is_path = path.split('/')[0] in TOP and ' ' not in path
    if is_path and not PLACEHOLDER.search(path):
      yield re.split('[:#]', path)[0]


def commands(text):
  for line in re.sub(r'\s*\\+\n\s*', ' ', text).splitlines():
    if re.match(r'\s*vit_jax (?!--)', line):
      yield re.split(r' [>|] ', line.strip())[0]


def pairs(find):
  return [
    pytest.param(found, id=f'{page.name}: {found}')
    for page in PAGES
    for found in find(page.read_text())
    if not found.startswith(MADE)
  ]


@pytest.mark.parametrize('path', pairs(named_paths))
def test_every_path_that_is_named_exists(path):
  assert (ROOT / path).exists() or ('*' in path and [*ROOT.glob(path)])


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The folder of a run that has been started."""
  folder = tmp_path_factory.mktemp('run')
  recipes.save(recipes.load('configs/quickstart.py'), folder)
  return folder


@pytest.fixture(scope='module')
def flowers(tmp_path_factory):
  """A folder of images, which a recipe counts."""
  folder = tmp_path_factory.mktemp('flowers')
  for name in 'rose', 'tulip':
    (folder / name).mkdir()
    for number in range(4):
      Image.new('RGB', (8, 8)).save(folder / name / f'{number}.png')
  return folder


@pytest.mark.parametrize('command', pairs(commands))
def test_every_command_that_is_named_parses(command, flowers, run, monkeypatch):
  monkeypatch.chdir(ROOT)
  command = re.sub(r'data=[^\s,]*flowers', f'data={flowers}', command)
  command = re.sub(r'WORKDIR|workdir/quickstart', str(run), command)
  _, name, *arguments = shlex.split(command.replace('...', 'somewhere'))
  parsed = parsing.parse(name, arguments)
  if getattr(parsed, 'config', None):
    recipes.load(parsed.config, parsed.overrides)


def test_the_table_of_faults_is_that_of_the_tests():
  page = re.findall(
    r'^\| (\d+) \| (.+) \| (.+) \| .+ \|$',
    (ROOT / 'docs/faults.md').read_text(),
    re.M,
  )
  folder = ROOT / 'tests/faults'
  texts = [path.read_text() for path in folder.glob('test_*.py')]
  marked = {
    tuple(str(ast.literal_eval(argument)) for argument in node.args)
    for text in texts
    for node in ast.walk(ast.parse(text))
    if isinstance(node, ast.Call)
    and getattr(node.func, 'id', '') == 'fault'
    and all(isinstance(argument, ast.Constant) for argument in node.args)
  }
  # Those killed while saving are rows of a table of their own.
  killed = re.findall(
    r"^  \((\d+), .*, '(killed .*)', (\w+)\),$", '\n'.join(texts), re.M
  )
  marked |= {
    (number, what, f'resumes from step {step.replace("None", "0")}; same bits')
    for number, what, step in killed
  }
  assert killed and marked == set(page)


def test_every_module_says_what_it_is_for():
  for path in (ROOT / 'vit_jax').glob('**/*.py'):
    text = path.read_text()
    assert not text or ast.get_docstring(ast.parse(text)), path


def test_every_recipe_is_in_the_index():
  index = (ROOT / 'configs/README.md').read_text()
  for path in (ROOT / 'configs').glob('**/*.py'):
    assert f'`{path.relative_to(ROOT)}`' in index


def test_make_targets_that_are_named_exist():
  makefile = (ROOT / 'Makefile').read_text()
  for page in PAGES:
    for target in re.findall(
      r'(?:`|^|^    |\s&&\s)make ([a-z]+)\b', page.read_text(), re.M
    ):
      assert f'\n{target}:' in makefile, page
