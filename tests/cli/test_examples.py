"""The examples of each command's help are run, or all that they name is there.

Those of `plan` are run in processes of their own: tests/planning/test_plan.py.
"""

import pathlib
import re
import shlex

import pytest

from vit_jax.analysis import analyze
from vit_jax.cli import commands, main, parsing
from vit_jax.config import grids, recipes
from vit_jax.data import datasets
from vit_jax.data.datasets import suites
from vit_jax.evaluation import registry
from vit_jax.inference import export
from vit_jax.training import assembly, sweep
from vit_jax.weights import catalog, convert

ONES_OWN = ('/', '.npz')  # Beginning and end of what is the user's.


def examples(*names):
  return [
    pytest.param(name, shlex.split(example), id=f'{name} {example}')
    for name in names
    for example in commands.COMMANDS[name].examples
  ]


def parsed(name, argv):
  return parsing.parse(name, argv)


def assert_released(name):
  is_own = name.startswith(ONES_OWN[0]) or name.endswith(ONES_OWN[1])
  assert is_own or name in catalog.ENTRIES


@pytest.mark.parametrize(('name', 'argv'), examples('inspect'))
def test_inspect_runs(name, argv, capsys):
  assert main.main([name, *argv]) == 0
  assert 'parameters' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('name', 'argv'),
  [each for each in examples('reproduce') if 'all' not in each.values[1]],
)
def test_reproduce_runs_dry(name, argv, tmp_path, capsys):
  """`all` is run where what it prints is compared with the page."""
  argv = [text.replace('/data/paper', str(tmp_path)) for text in argv]
  assert main.main([name, *argv, '--dry-run']) == 0
  assert capsys.readouterr().out.startswith(f'## {argv[0]}: ')


@pytest.mark.parametrize(('name', 'argv'), examples('train', 'preview'))
def test_a_recipe_fits_the_devices(name, argv):
  args = parsed(name, argv)
  assembly.validate(recipes.load(args.config, args.overrides), 8)


@pytest.mark.parametrize(('name', 'argv'), examples('sweep'))
def test_a_sweep_has_settings_to_choose_from(name, argv):
  args = parsed(name, argv)
  rows = suites.SUITES[args.suite] if args.suite else ()
  for dataset in suites.datasets(rows) or ('',):
    spec = sweep._with_dataset(args.config, dataset)
    grid = grids.parse(args.sweep) if args.sweep else recipes.grid(spec)
    config = recipes.load(spec, args.overrides)
    for setting in grids.combinations(grid):
      assembly.validate(grids.apply(config, setting), 8)
    assert setting


@pytest.mark.parametrize(
  ('name', 'argv'),
  examples('evaluate', 'predict', 'analyze', 'explore', 'convert', 'export'),
)
def test_names_are_known(name, argv):
  args = parsed(name, argv)
  assert_released(getattr(args, 'checkpoint', None) or '/')
  assert_released(getattr(args, 'against', None) or '/')
  assert_released(getattr(args, 'source', None) or '/')
  assert set(getattr(args, 'evaluators', None) or ()) <= {*registry.EVALUATORS}
  assert getattr(args, 'dataset', None) in {None, *datasets.DATASETS}
  assert getattr(args, 'analysis', 'filters') in analyze.ANALYSES
  formats = export.FORMATS if name == 'export' else convert.FORMATS
  assert getattr(args, 'to', None) in {None, *formats}


@pytest.mark.parametrize(('name', 'argv'), examples('prepare'))
def test_data_sets_are_known(name, argv):
  assert parsed(name, argv).dataset in datasets.DATASETS


@pytest.mark.parametrize(('name', 'argv'), examples('verify'))
def test_verify_takes_a_folder_with_or_without_its_flag(name, argv):
  assert parsed(name, argv).workdir == '/tmp/quickstart'


@pytest.mark.parametrize(('name', 'argv'), examples('report'))
def test_report_takes_the_folder_of_a_run(name, argv):
  args = parsed(name, argv)
  assert args.workdir in argv and args.evaluate in (None, False)


@pytest.mark.parametrize(('name', 'argv'), examples('miniature'))
def test_miniature_fills_a_page_that_is_there(name, argv):
  root = pathlib.Path(__file__).parents[2]
  assert (root / parsed(name, argv).page).is_file()


@pytest.mark.parametrize(
  ('name', 'argv'), examples('models', 'checkpoints', 'config', 'completion')
)
def test_lists_and_scripts_are_printed(name, argv, capsys):
  assert main.main([name, *argv]) == 0
  assert len(capsys.readouterr().out.splitlines()) > 1


def test_no_command_is_left_out():
  calls = re.findall(r'examples\((.*?)\)', pathlib.Path(__file__).read_text())
  tested = {name for call in calls for name in re.findall(r"'(\w+)'", call)}
  assert tested == commands.COMMANDS.keys() - {'plan'}
