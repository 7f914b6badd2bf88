"""What is installed is whole: built, put elsewhere, and used from there.

The source distribution is built of a copy of the checkout, the wheel of the
source distribution alone. The wheel goes into a fresh virtual environment that
borrows the dependencies of the one the tests run in, but not its vit_jax. With
--python=PATH, it is one of that Python, and what the wheel requires is
installed anew: `make pythons`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import cv2
import numpy as np
import pytest

import vit_jax
from vit_jax.cli import commands
from vit_jax.evaluation import records

ROOT = pathlib.Path(__file__).parents[1]
# As in the checkout: as in a wheel.
PLACES = {'vit_jax': 'vit_jax', 'configs': 'vit_jax/configs'}

BUILD = """
import sys
from setuptools import build_meta

getattr(build_meta, sys.argv[1])(sys.argv[2])
"""

# Runs {name: argv}, each as the console script does; a process for all of them.
DRIVER = """
import contextlib, io, json, sys, traceback

import vit_jax
from vit_jax.cli import main
from vit_jax.config import recipes
from vit_jax.evaluation import records

reports = {}
for name, argv in json.load(sys.stdin).items():
  out = io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    try:
      status = main.main(argv)
    except BaseException:
      status = traceback.format_exc()
  reports[name] = (status, out.getvalue())
facts = {
  'package': vit_jax.__file__,
  'recipes': str(recipes.FOLDER),
  'code': records.code_version(),
}
with open(sys.argv[1], 'w') as file:
  json.dump({'reports': reports, 'facts': facts}, file)
"""

SHORT = (
  '--config.run.num_epochs=none',
  '--config.run.num_steps=2',
  '--config.optimizer.warmup_steps=1',
)

# Command: arguments, what is to be read in the output. In this order; each in
# the same folder, which is not the checkout.
RUNS = {
  'prepare': (('digits',), 'digits'),
  'train': (('--config=quickstart.py', '--workdir=run', *SHORT), 'step 2/2'),
  'evaluate': (('run',), 'num_examples'),
  'verify': (('run',), 'verified'),
  'report': (('run',), 'report.html'),
  'predict': (('run', 'cat.png', 'cat.png', '--json'), '"file": "cat.png"'),
  'convert': (('run', 'for_timm', '--to=timm'), 'for_timm'),
  'export': (('run', 'run.stablehlo', '--to=stablehlo'), 'run.stablehlo'),
  'analyze': (('filters', '--checkpoint=run', '--output=figures'), 'filters'),
  'explore': (('run', 'cat.png', '--output=looks.html'), 'looks.html'),
  'sweep': (
    (
      '--config=quickstart.py',
      '--workdir=rates',
      '--sweep=optimizer.learning_rate=0.001',  # One: nothing to choose.
      *SHORT,
    ),
    '| optimizer.learning_rate=0.001 |',
  ),
  'inspect': (('--config=finetune/transfer.py:dataset=cifar10',), 'ViT-B/16'),
  'plan': (
    ('--config=configs/quickstart.py', '--topology=1', *SHORT),
    'compiled by',
  ),
  'preview': (('--config=quickstart.py', '--output=batch.png'), 'batch.png'),
  'reproduce': (('table1',), '| ViT-H | Parameters | 632M | 632.0M |'),
  'models': (('ViT-B/*',), '86,567,656'),
  'checkpoints': (('augreg/*384*',), 'augreg/B_16-i21k-imagenet2012-384'),
  'config': (('seed',), 'Of parameters, data order'),
  'completion': (('bash',), 'complete -F _vit_jax vit_jax'),
}


def run(*command, cwd, **options):
  """Runs a command that has to succeed, without this checkout on its path."""
  env = {
    name: text for name, text in os.environ.items() if name[:6] != 'PYTHON'
  }
  env['TFDS_DATA_DIR'] = str(pathlib.Path(cwd, 'data'))
  done = subprocess.run(
    list(map(str, command)),
    cwd=cwd,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    **options,
  )
  assert done.returncode == 0, done.stdout
  return done.stdout


def copy_of_the_checkout(folder):
  """Copies what a distribution is made of."""
  folder.mkdir()
  for path in ROOT.iterdir():
    if path.is_file():
      shutil.copy(path, folder)
  for name in PLACES:
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / name, folder / name, ignore=ignored)
  return folder


def build(tree, folder):
  """Returns the wheel of the source distribution of a tree."""
  run(sys.executable, '-c', BUILD, 'build_sdist', folder, cwd=tree)
  (sdist,) = folder.glob('*.tar.gz')
  with tarfile.open(sdist) as archive:
    archive.extractall(folder, filter='data')
  unpacked = folder / sdist.name.removesuffix('.tar.gz')
  run(sys.executable, '-c', BUILD, 'build_wheel', folder, cwd=unpacked)
  (wheel,) = folder.glob('*.whl')
  return wheel


def files(folder):
  """Returns the paths of the files in a folder of the checkout."""
  return [
    path
    for path in folder.rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  ]


def lacking(wheel):
  """Returns the files of the checkout that a wheel should hold and doesn't."""
  wanted = {
    f'{inside}/{path.relative_to(ROOT / name).as_posix()}'
    for name, inside in PLACES.items()
    for path in files(ROOT / name)
  }
  return wanted - set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  tree = copy_of_the_checkout(tmp_path_factory.mktemp('tree') / 'vit_jax')
  return build(tree, tmp_path_factory.mktemp('dist'))


@pytest.fixture(scope='module')
def other_python(request):
  """Returns another Python to install the wheel in, or None."""
  path = request.config.getoption('--python')
  if path and not shutil.which(path):
    pytest.skip(f'there is no {path}')
  return path


@pytest.fixture(scope='module')
def environment(wheel, other_python, tmp_path_factory):
  """Returns the folder of a virtual environment that holds the wheel."""
  folder = tmp_path_factory.mktemp('venv')
  if other_python:
    run(other_python, '-m', 'venv', folder, cwd=folder)
    what = f'{wheel}[export]'
    run(folder / 'bin/pip', 'install', '--quiet', what, cwd=folder)
    return folder
  venv.create(folder, symlinks=True)
  python = folder / 'bin/python'
  pip = (sys.executable, '-m', 'pip', '--python', python, 'install')
  run(*pip, '--no-deps', '--no-index', wheel, cwd=folder)
  # A line in a .pth file adds a folder and doesn't read the .pth files there,
  # of which one would find the checkout.
  (site,) = folder.glob('lib/python*/site-packages')
  borrowed = [path for path in sys.path if path.endswith('-packages')]
  (site / 'borrowed.pth').write_text('\n'.join(borrowed))
  return folder


@pytest.fixture(scope='module')
def made(environment, tmp_path_factory):
  """Returns the folder that all commands were run in, and what they said."""
  folder = tmp_path_factory.mktemp('elsewhere')
  pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
  cv2.imwrite(str(folder / 'cat.png'), pixels)
  argvs = {f'{name} --help': [name, '--help'] for name in commands.COMMANDS}
  argvs |= {name: [name, *argv] for name, (argv, _) in RUNS.items()}
  python = environment / 'bin/python'
  run(
    *(python, '-c', DRIVER, folder / 'reports.json'),
    input=json.dumps(argvs),
    cwd=folder,
  )
  return folder, json.loads((folder / 'reports.json').read_text())


def test_the_wheel_holds_all_code_data_and_recipes(wheel):
  assert not lacking(wheel)


def test_a_package_or_recipes_that_the_wheel_lacks_are_noticed(tmp_path):
  tree = copy_of_the_checkout(tmp_path / 'tree')
  (tree / 'vit_jax/analysis/__init__.py').unlink()
  shutil.rmtree(tree / 'configs/finetune')
  found = lacking(build(tree, tmp_path / 'dist'))
  assert found == {
    f'vit_jax/{path.relative_to(ROOT).as_posix().removeprefix("vit_jax/")}'
    for folder in ('vit_jax/analysis', 'configs/finetune')
    for path in files(ROOT / folder)
  }


def test_what_runs_is_what_was_installed(made, environment):
  facts = made[1]['facts']
  installed = pathlib.Path(facts['package'])
  assert installed.is_relative_to(environment)
  assert pathlib.Path(facts['recipes']) == installed.parent / 'configs'


def test_installed_code_counts_as_that_of_the_checkout(made, other_python):
  if other_python:
    pytest.skip('its packages may be of other versions, which count')
  assert made[1]['facts']['code'] == records.code_version()


def test_the_script_tells_its_version(environment, tmp_path):
  said = run(environment / 'bin/vit_jax', '--version', cwd=tmp_path)
  assert said == f'vit_jax {vit_jax.__version__}\n'


@pytest.mark.parametrize('name', commands.COMMANDS)
def test_every_command_helps_outside_the_checkout(made, name):
  status, said = made[1]['reports'][f'{name} --help']
  assert status == 0, said
  assert said.startswith(commands.COMMANDS[name].purpose)


@pytest.mark.parametrize('name', RUNS)
def test_commands_run_outside_the_checkout(made, name):
  status, said = made[1]['reports'][name]
  assert status == 0, f'{status}\n{said}'
  assert RUNS[name][1] in said


def test_what_the_commands_wrote_is_there(made):
  folder, _ = made
  assert (folder / 'data/digits').is_dir()  # And not where TFDS has its own.
  assert (folder / 'run/config.json').exists()
  assert (folder / 'for_timm/model.safetensors').exists()
  assert list((folder / 'figures').glob('*.png'))


def test_every_command_is_run_but_for_what_takes_minutes():
  assert commands.COMMANDS.keys() - RUNS.keys() == {'miniature'}
