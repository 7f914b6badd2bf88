"""Completion: what a shell offers for what has been typed."""

import re
import shlex
import shutil
import subprocess

import pytest

from vit_jax import errors
from vit_jax.cli import commands, completion
from vit_jax.config import fields, recipes
from vit_jax.weights import catalog

COMPLETE = r"""
source script.bash
complete_line() {
  COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
  COMPREPLY=()
  _vit_jax
  printf '%s\n' "${COMPREPLY[@]}" --
}
compopt() { :; }  # For there is no completion under way.
"""


def words(line):
  """Returns the words of a line as bash cuts it for completion."""
  found = re.findall(r'[^\s=:]+|[=:]+', line)
  return [*found, ''] if line.endswith(' ') else found


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('completion')
  script = completion.script('bash', commands.COMMANDS)
  (folder / 'script.bash').write_text(script)
  (folder / 'my photos').mkdir()
  (folder / 'my.py').touch()
  return folder


@pytest.fixture(scope='module')
def offered(folder):
  """Returns what bash offers for each line of `CASES`; one bash for all."""
  calls = [shlex.join(['complete_line', line, *words(line)]) for line in CASES]
  done = subprocess.run(
    ['bash', '-u', '-c', '\n'.join([COMPLETE, *calls])],
    cwd=folder,
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stderr == ''
  replies = done.stdout.split('--\n')
  return {
    line: set(reply.splitlines()) - {''} for line, reply in zip(CASES, replies)
  }


# Line: some of what is offered, and some of what is not.
CASES = {
  'vit_jax ': ({'train', 'models', '--help'}, {'my.py'}),
  'vit_jax pr': ({'predict', 'prepare', 'preview'}, {'train'}),
  'vit_jax train --w': ({'--workdir='}, {'--config='}),
  'vit_jax train quick': ({'quickstart.py'}, {'my.py'}),
  'vit_jax train m': ({'miniature/pretrain.py', 'my.py'}, set()),
  'vit_jax train --config=quick': ({'quickstart.py'}, {'my.py'}),
  'vit_jax train --config quick': ({'quickstart.py'}, set()),
  'vit_jax train quickstart.py m': ({'my photos'}, {'my.py'}),
  'vit_jax train --config=quickstart.py --workdir=m': (
    {'my photos'},
    {'my.py'},
  ),
  'vit_jax train --config.run.batch_s': (
    {'--config.run.batch_size='},
    {'--config.seed='},
  ),
  'vit_jax predict augreg/B_16-i21k': (
    {'augreg/B_16-i21k-imagenet2012-384'},
    {'augreg/B_16'},
  ),
  'vit_jax predict a b m': ({'my photos', 'my.py'}, {'augreg/B_16'}),
  'vit_jax predict --top 3 sam': ({'sam/ViT-B_16'}, {'my.py'}),
  'vit_jax predict --json sam': ({'sam/ViT-B_16'}, {'my.py'}),
  'vit_jax convert a b --to=': ({'timm', 'google'}, {'my.py'}),
  'vit_jax convert a b --to ': ({'timm', 'google'}, {'my.py'}),
  'vit_jax analyze ro': ({'rollout'}, {'filters'}),
  'vit_jax prepare cif': ({'cifar10'}, {'my.py'}),
  'vit_jax completion ': ({'bash', 'zsh', 'fish'}, {'my.py'}),
  'vit_jax config optimizer.le': ({'optimizer.learning_rate'}, {'seed'}),
  'vit_jax checkpoints bit': ({'bit/R50x1_160'}, {'augreg/B_16'}),
}


@pytest.mark.skipif(not shutil.which('bash'), reason='there is no bash')
@pytest.mark.parametrize('line', CASES)
def test_bash_offers_what_fits(offered, line):
  some, others = CASES[line]
  assert some <= offered[line]
  assert not others & offered[line]


def test_scripts_know_all_commands_flags_recipes_and_names():
  for shell in 'bash', 'zsh', 'fish':
    script = completion.script(shell, commands.COMMANDS)
    assert '@' not in re.sub(r'\$@|\[@\]|\$\{@', '', script)
    for name, row in commands.COMMANDS.items():
      assert name in script
      for flag in row.flags:
        assert flag in script
    for name in (*recipes.installed(), *catalog.ENTRIES):
      assert name in script
  for name in fields.comments():
    assert f'--config.{name}=' in completion.script('bash', commands.COMMANDS)


@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_the_syntax_is_that_of_the_shell(shell, tmp_path):
  if not shutil.which(shell):
    pytest.skip(f'there is no {shell}')
  (tmp_path / 'script').write_text(completion.script(shell, commands.COMMANDS))
  subprocess.run([shell, '-n', 'script'], cwd=tmp_path, check=True)


@pytest.mark.skipif(not shutil.which('fish'), reason='there is no fish')
def test_fish_offers_what_fits(tmp_path):
  script = completion.script('fish', commands.COMMANDS)
  (tmp_path / 'script.fish').write_text(script)
  for line, some in {
    'vit_jax pre': {'predict', 'prepare', 'preview'},
    'vit_jax train --wor': {'--workdir'},
    'vit_jax convert a b --to=ti': {'--to=timm'},
    'vit_jax train quicks': {'quickstart.py'},
  }.items():
    ask = f'source script.fish; complete -C {shlex.quote(line)}'
    done = subprocess.run(
      ['fish', '--no-config', '-c', ask],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      check=True,
    )
    found = {each.split('\t')[0] for each in done.stdout.splitlines()}
    assert some <= found, line


def test_an_unknown_shell_is_refused():
  with pytest.raises(errors.UserError, match=r"--shell='tcsh' is unknown"):
    completion.script('tcsh', commands.COMMANDS)
