"""The README tells the truth: what it names exists, what it shows runs."""

import ast
import pathlib
import re
import shlex

import pytest
from PIL import Image

from vit_jax.cli import parsing
from vit_jax.config import recipes

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'configs').glob('**/*.py'))]
PAGES += [ROOT / 'configs/README.md', ROOT / 'launch/README.md']
# What a command or a run makes, and placeholders, need not be there.
MADE = ('workdir/', '/data/', '<')
TOP = tuple(path.name for path in ROOT.iterdir() if path.is_dir())


def named_paths(text):
  for quoted in re.findall(r'`([^`\n]+)`|\]\(([^)]+)\)', text):
    path = ''.join(quoted)
    if path.split('/')[0] in TOP and ' ' not in path:
      yield re.split('[:#]', path)[0]


def commands(text):
  for line in re.sub(r'\s*\\+\n\s*', ' ', text).splitlines():
    if line.strip().startswith('vit_jax '):
      yield line.strip()


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
def flowers(tmp_path_factory):
  """A folder of images, which a recipe counts."""
  folder = tmp_path_factory.mktemp('flowers')
  for name in 'rose', 'tulip':
    (folder / name).mkdir()
    for number in range(4):
      Image.new('RGB', (8, 8)).save(folder / name / f'{number}.png')
  return folder


@pytest.mark.parametrize('command', pairs(commands))
def test_every_command_that_is_named_parses(command, flowers, monkeypatch):
  monkeypatch.chdir(ROOT)
  command = re.sub(r'data=\S*flowers', f'data={flowers}', command)
  _, name, *arguments = shlex.split(command.replace('...', 'somewhere'))
  parsed = parsing.parse(name, arguments)
  if hasattr(parsed, 'config'):
    recipes.load(parsed.config, parsed.overrides)


def test_the_tables_of_faults_are_those_of_the_tests():
  readme, page = (
    re.findall(
      r'^\| (\d+) \| (.+) \| (.+) \| .+ \|$', (ROOT / path).read_text(), re.M
    )
    for path in ('README.md', 'docs/faults.md')
  )
  assert readme == page
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
  for target in re.findall(
    r'(?:`|^|\s&&\s)make ([a-z]+)\b', (ROOT / 'README.md').read_text(), re.M
  ):
    assert f'\n{target}:' in makefile


def test_the_python_examples_run_one_after_the_other():
  """But for those below `<!-- not run: REASON -->`, which are read only."""
  examples = re.findall(
    r'(<!-- not run: .+ -->\n+)?```python\n(.*?)```',
    (ROOT / 'README.md').read_text(),
    re.S,
  )
  assert examples
  scope = {}
  for is_read_only, example in examples:
    code = compile(example, 'README.md', 'exec')
    if not is_read_only:
      exec(code, scope)
