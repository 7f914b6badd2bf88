"""Launchers start what they say, and a dry run says what they start."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / 'launch').glob('*.sh'))
SOURCED = ('environment.sh', 'slurm_cpus.sh', 'sweep_tasks.sh', 'yaml.sh')
MEETING = ('--coordinator=one:8476', '--num_processes=2')

# Arguments of a launcher, and those that each `vit_jax` gets beside its own.
STARTS = {
  ('gpu_node.sh', '--'): [()],
  ('gpu_node.sh', 'one', 'two', '--'): [
    (*MEETING, '--process_id=0'),
    (*MEETING, '--process_id=1'),
  ],
  ('gpu_node.sh', 'me@one', '--'): [
    ('--coordinator=one:8476', '--num_processes=1', '--process_id=0')
  ],
  ('tpu_pod.sh', 'pod', 'us-central2-b'): [()],
  ('tpu_pod.sh', '--queued-resource', 'slices', 'us-central2-b'): [()],
  ('slurm.sh', '2', '8'): [()],
}


@pytest.mark.parametrize('command', STARTS, ids=' '.join)
def test_every_process_gets_its_arguments(machine, command):
  done = machine.start(*command, *machine.train)
  assert done.returncode == 0, done.stderr
  wanted = [[*machine.train, *more] for more in STARTS[command]]
  assert machine.noted('vit_jax', len(wanted)) == wanted


@pytest.mark.parametrize('command', STARTS, ids=' '.join)
def test_a_dry_run_prints_what_it_would_start(machine, command):
  name, *arguments = command
  shown = machine.start(name, '--dry-run', *arguments, *machine.train)
  assert shown.returncode == 0, shown.stderr
  assert machine.has_started() <= {'sinfo'}
  machine.start(*command, *machine.train)
  scheduler = {'slurm.sh': 'sbatch', 'tpu_pod.sh': 'gcloud'}.get(name, 'ssh')
  printed = [machine.typed(line) for line in shown.stdout.splitlines()]
  calls = machine.noted(scheduler)
  if calls:
    assert sorted(printed) == [[scheduler, *call] for call in calls]
  else:
    assert printed == [
      [f'{machine.launch}/keep_going.sh', 'vit_jax', *machine.train]
    ]


def test_lines_of_a_dry_run_do_not_mix(machine, monkeypatch):
  slow = '[[ ${FUNCNAME:-} != run ]] || sleep 0.5'  # Before each part of it.
  machine.script('env', f"set -T; trap '{slow}' DEBUG")
  monkeypatch.setenv('BASH_ENV', str(machine.home / 'env'))
  shown = machine.start(
    'gpu_node.sh', '--dry-run', 'one', 'two', '--', *machine.train
  )
  lines = sorted(map(machine.typed, shown.stdout.splitlines()))
  assert [line[:3] for line in lines] == [
    ['ssh', '-tt', 'one'],
    ['ssh', '-tt', 'two'],
  ]


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_without_arguments_it_says_how_it_is_used(machine, path):
  if path.name in ('slurm_job.sh', *SOURCED):
    pytest.skip('started by others')
  done = machine.start(path.name)
  assert done.returncode == 2
  assert f'launch/{path.name} [--dry-run]' in done.stderr
  assert not done.stderr.startswith('#') and 'set -' not in done.stderr
  assert not machine.has_started()


@pytest.mark.parametrize(
  'command',
  [
    ('slurm.sh',),
    ('slurm.sh', '2'),
    ('slurm.sh', '2', '0'),
    ('gke_jobset.sh', 'vitb', 'image', '2', 'tpu-v5p-slice', '2x2x4'),
    ('tpu_pod.sh', 'pod'),
    ('tpu_pod.sh',),
    ('tpu_pod.sh', '--status', 'pod', 'zone'),
    ('tpu_pod.sh', '--restart', 'pod', 'zone'),
    ('gpu_node.sh',),
    ('slurm_sweep.sh', '8'),
    ('gke_sweep.sh', 'name', 'image', '4', 'a=b'),
  ],
  ids=' '.join,
)
def test_what_was_left_out_is_not_guessed(machine, command):
  done = machine.start(*command, *machine.train)
  assert done.returncode == 2
  assert f'launch/{command[0]} [--dry-run]' in done.stderr
  assert not machine.has_started()


def test_shellcheck_finds_nothing():
  here = os.path.dirname(sys.executable)
  checker = shutil.which('shellcheck', path=f'{here}:{os.environ["PATH"]}')
  if checker is None:
    pytest.skip('shellcheck is not there; the extra [test] brings it')
  command = [checker, '--external-sources', *SCRIPTS]
  done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
  assert done.returncode == 0, done.stdout
