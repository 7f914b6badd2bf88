import importlib
import pathlib
import re
import shlex
import subprocess
import sys
import textwrap
import types

import jax
import pytest

import vit_jax
from vit_jax import errors
from vit_jax.cli import commands, flags, main, parsing, reference
from vit_jax.config import recipes, schema

ROOT = pathlib.Path(vit_jax.__file__).parents[1]
RECIPE = """
  from vit_jax.config import schema


  def get_config():
    config = schema.default()
    config.run.num_steps = 20
    return config
"""


@pytest.fixture
def recipe(tmp_path):
  (tmp_path / 'recipe.py').write_text(textwrap.dedent(RECIPE))
  return str(tmp_path / 'recipe.py')


@pytest.fixture
def calls(monkeypatch):
  """Puts recorders in the place of what the commands call."""
  calls = []

  def record(name, result):
    def function(*args, **_):
      calls.append((name, *args))
      return result

    return function

  measured = {'accuracy': 0.875, 'num_examples': 360}
  for package, module, function, result in (
    ('training', 'train', 'run', {}),
    ('evaluation', 'evaluate', 'run', measured),
    ('planning', 'inspection', 'text', 'the model'),
    ('data.sources', 'prepare', 'run', 'it is there'),
    ('training', 'preview', 'run', 'b.png'),
  ):
    name = f'vit_jax.{package}.{module}'
    fake = types.ModuleType(name)
    setattr(fake, function, record(module, result))
    monkeypatch.setitem(sys.modules, name, fake)
    parent = importlib.import_module(f'vit_jax.{package}')
    monkeypatch.setattr(parent, module, fake, raising=False)
  return calls


def test_train_gets_configuration_and_workdir(calls, recipe):
  assert main.main(['train', f'--config={recipe}', '--workdir=/tmp/w']) == 0
  ((name, config, workdir),) = calls
  assert (name, workdir) == ('train', '/tmp/w')
  assert config.run.num_steps == 20
  assert config.is_locked


@pytest.mark.parametrize(
  'overrides',
  [
    ['--config.seed=-3', '--config.data.flip=false'],
    ['--config.seed', '-3', '--config.data.flip', 'false'],
    ['--noconfig.data.flip', '--config.seed', '-3'],
  ],
)
def test_both_ways_of_writing_a_value_work(calls, recipe, overrides):
  argv = ['train', '--workdir', 'w', *overrides, '--config', recipe]
  assert main.main(argv) == 0
  ((_, config, workdir),) = calls
  assert config.seed == -3
  assert config.data.flip is False
  assert workdir == 'w'


def test_a_bare_boolean_override_takes_no_flag_as_value(calls, recipe):
  argv = ['train', '--config.data.flip', '--config', recipe, '--workdir=w']
  assert main.main(argv) == 0
  assert calls[0][1].data.flip is True


def test_evaluate_prints_the_report(calls, capsys):
  assert main.main(['evaluate', '--workdir=w']) == 0
  assert calls == [('evaluate', 'w')]
  assert capsys.readouterr().out.split() == [
    'accuracy',
    '0.875',
    'num_examples',
    '360',
  ]


@pytest.mark.parametrize(
  ('flag', 'out'),
  [
    ('--json', '{"accuracy": 0.875, "num_examples": 360}\n'),
    ('--format=csv', 'accuracy,num_examples\n0.875,360\n'),
  ],
)
def test_the_report_is_data_too(calls, capfd, flag, out):
  assert main.main(['evaluate', 'augreg/B_16', flag]) == 0
  assert calls == [('evaluate', None)]
  assert capfd.readouterr().out == out


def test_inspect_prints_for_the_devices_there_are_or_assumed(
  calls, recipe, capsys
):
  assert main.main(['inspect', f'--config={recipe}']) == 0
  assert main.main(['inspect', f'--config={recipe}', '--devices=64']) == 0
  assert [call[2] for call in calls] == [jax.device_count(), 64]
  assert capsys.readouterr().out == 'the model\nthe model\n'


@pytest.mark.parametrize(
  'argv, data_dir',
  [
    (['dtd'], None),
    (['dtd', '--data_dir=/d'], '/d'),
    (['--data_dir', '/d', '--dataset', 'dtd'], '/d'),
  ],
)
def test_a_data_set_may_be_named_with_or_without_its_flag(
  calls, capsys, argv, data_dir
):
  assert main.main(['prepare', *argv]) == 0
  assert calls == [('prepare', 'dtd', data_dir)]
  assert capsys.readouterr().out == 'it is there\n'


def test_preview_gets_configuration_and_file(calls, recipe, capsys):
  argv = ['preview', f'--config={recipe}', '--output=b.png', '--config.seed=4']
  assert main.main(argv) == 0
  ((name, config, output),) = calls
  assert (name, config.seed, output) == ('preview', 4, 'b.png')
  assert capsys.readouterr().out == 'b.png\n'


@pytest.mark.parametrize(
  'argv, message',
  [
    (['trian'], "'trian' is not a command. Did you mean train?"),
    (['train'], 'vit_jax train needs --config=RECIPE; for example: vit_jax'),
    (['train', '--config=r.py'], 'needs --workdir=FOLDER'),
    (['train', '--wrokdir=w'], 'has no --wrokdir=w. Did you mean --workdir'),
    (['train', 'r.py'], 'vit_jax train needs --workdir=FOLDER'),
    (['train', '--conf=r.py'], 'has no --conf=r.py. Did you mean --config'),
    (['evaluate', '--config.seed=1'], 'evaluate has no --config.seed=1'),
    (['evaluate', '--workdir'], '--workdir: expected one argument'),
    (['prepare'], 'vit_jax prepare needs --dataset=NAME; for example'),
    (['prepare', 'a', 'b'], 'vit_jax prepare has no b.'),
    (['preview', '--config=r.py'], 'needs --output=PATH'),
    (['show', '--config=r.py'], 'show is now called preview'),
    (['convert', 'a', 'b', '--to=timm', '--drop=x'], 'now called --exclude'),
    (['train', '--process=1'], 'It is now called --process_id'),
    (['inspect', '--devices=0'], "'0' is not a number above 0"),
    (['inspect', '--devices=two'], "'two' is not a number above 0"),
    (['train', '--config=no/r.py', '--workdir=w'], 'There is no file no/r.py'),
  ],
)
def test_a_mistake_is_told_in_one_line(calls, capsys, argv, message):
  assert main.main(argv) == 2
  captured = capsys.readouterr()
  assert captured.err.startswith('vit_jax: error: ')
  assert message in captured.err
  assert captured.err.count('\n') == 1
  assert captured.out == '' and calls == []


def test_a_mistake_found_by_a_command_is_told_too(monkeypatch, calls, capsys):
  def fail(workdir):
    raise errors.UserError(f'{workdir} holds no run.')

  monkeypatch.setattr(sys.modules['vit_jax.evaluation.evaluate'], 'run', fail)
  assert main.main(['evaluate', '--workdir=w']) == 2
  assert capsys.readouterr().err == 'vit_jax: error: w holds no run.\n'


def test_any_other_error_keeps_its_traceback(monkeypatch, calls):
  def fail(workdir):
    raise RuntimeError('a bug')

  monkeypatch.setattr(sys.modules['vit_jax.evaluation.evaluate'], 'run', fail)
  with pytest.raises(RuntimeError, match='a bug'):
    main.main(['evaluate', '--workdir=w'])


@pytest.mark.parametrize('flag', ['-h', '--help'])
def test_help_lists_every_command(capsys, flag):
  assert main.main([flag]) == 0
  out = capsys.readouterr().out
  for name, command in commands.COMMANDS.items():
    assert name in out and command.purpose in out


def test_the_version_is_told(capsys):
  assert main.main(['--version']) == 0
  assert capsys.readouterr().out == f'vit_jax {vit_jax.__version__}\n'
  main.main(['--help'])
  assert '`vit_jax --version`' in capsys.readouterr().out


@pytest.mark.parametrize('name', commands.COMMANDS)
def test_help_tells_where_recipes_are_known(
  name, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  main.main([name, '--help'])
  takes_recipes = 'config' in commands.COMMANDS[name].flags
  assert (reference.RECIPES in capsys.readouterr().out) == takes_recipes
  for spec in re.findall(r'--config=(\S+)', reference.RECIPES):
    recipes.load(spec)


def test_no_command_shows_help_and_fails(capsys):
  assert main.main([]) == 2
  assert 'Usage: vit_jax COMMAND' in capsys.readouterr().out


@pytest.mark.parametrize('name', commands.COMMANDS)
def test_help_of_a_command_names_flags_and_examples(capsys, calls, name):
  assert main.main([name, '--help']) == 0
  out = capsys.readouterr().out
  for flag in commands.COMMANDS[name].flags:
    row = flags.FLAGS[flag]
    written = f'--{flag}={row.value}' if row.value else f'--{flag} '
    assert written in out and row.purpose in out
  assert out.count(f'vit_jax {name} ') >= 2  # The usage, an example.
  assert calls == []


@pytest.mark.parametrize('name', commands.COMMANDS)
def test_examples_are_accepted(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for example in commands.COMMANDS[name].examples:
    args = parsing.parse(name, shlex.split(example))
    if getattr(args, 'config', None):
      recipes.load(args.config, args.overrides)
    assert all(getattr(args, flag) for flag in commands.COMMANDS[name].required)


def test_fields_that_the_help_overrides_exist():
  for word in reference.OVERRIDES.split():
    if word.startswith('--config.'):
      field = word.removeprefix('--config.').partition('=')[0]
      schema.lookup(schema.default(), field)


def test_the_module_runs_and_gives_its_status():
  status = subprocess.run(
    [sys.executable, '-m', 'vit_jax.cli', 'trian'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert status.returncode == 2
  assert status.stderr.startswith('vit_jax: error: ')


@pytest.mark.parametrize('argv', [['train', '--help'], ['--version']])
def test_help_and_version_wait_for_no_other_package(argv):
  code = (
    'import sys; before = set(sys.modules); from vit_jax.cli import main; '
    f'main.main({argv}); new = set(sys.modules) - before; '
    'others = {name.partition(".")[0] for name in new} - {"vit_jax"}; '
    'sys.exit(bool(others - sys.stdlib_module_names))'
  )
  command = [sys.executable, '-c', code]
  assert subprocess.run(command, cwd=ROOT).returncode == 0
