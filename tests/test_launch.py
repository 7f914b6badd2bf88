"""Launchers start what they say, and again for as long as that helps.

The schedulers are stood in for by scripts that start what they are given.
"""

import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

LAUNCH = pathlib.Path(__file__).parents[1] / 'launch'
SCRIPTS = sorted(LAUNCH.glob('*.sh'))
TRAIN = ['train', '--config=a.py:variant=B/16', "--workdir=/data/it's here"]
SLICES = ['vitb', 'gcr.io/me/image', '2', '4', 'tpu-v5p-slice', '2x2x4']
MEETING = ['--coordinator=one:8476', '--num_processes=2']

# Arguments of a launcher, and those that each `vit_jax` gets.
STARTS = {
  ('gpu_node.sh', '--'): [TRAIN],
  ('gpu_node.sh', 'one', 'two', '--'): [
    [*TRAIN, *MEETING, '--process_id=0'],
    [*TRAIN, *MEETING, '--process_id=1'],
  ],
  ('tpu_pod.sh', 'pod', 'us-central2-b'): [TRAIN],
  ('slurm.sh', '2', '8'): [TRAIN],
}
# What they do once they have noted their arguments.
STAND_INS = {
  'ssh': 'shift 2; exec bash -c "$*"',
  'gcloud': 'for word; do command=${word#--command=}; done; bash -c "$command"',
  'sbatch': 'for word; do job=${word#--wrap=}; done; bash -c "$job"',
  'srun': 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
  'scontrol': '',
  'kubectl': 'cat',
}


def script(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f'#!/usr/bin/env bash\n{text}\n')
  path.chmod(0o755)


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """A folder with the repository, where all that is started notes it."""
  notes = tmp_path / 'notes'
  note = (
    f'{shlex.quote(sys.executable)} -S -c "import json, sys; '
    'print(json.dumps(sys.argv[1:]))" "$(basename "$0")" "$@" >> "$NOTES"'
  )
  for name, text in STAND_INS.items():
    script(tmp_path / 'bin' / name, f'{note}\n{text}')
  ends = f'{note}\nstatus=$(head -n1 "$ENDS"); sed -i 1d "$ENDS"; exit $status'
  script(tmp_path / 'vit_jax/.venv/bin/vit_jax', ends)
  (tmp_path / 'vit_jax/launch').symlink_to(LAUNCH)
  (tmp_path / 'ends').write_text('0\n0\n')
  for name, value in {
    'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    'HOME': tmp_path,
    'NOTES': notes,
    'ENDS': tmp_path / 'ends',
    'PAUSE': '0',
    'SLURM_JOB_ID': '7',
  }.items():
    monkeypatch.setenv(name, str(value))
  return tmp_path


def start(name, *arguments):
  return subprocess.run(
    ['bash', LAUNCH / name, *arguments],
    capture_output=True,
    text=True,
    timeout=300,
  )


def noted(machine, name, count=0):
  """Returns the arguments of each call of a command, waiting for `count`."""
  end = time.monotonic() + 120
  while True:
    path = machine / 'notes'
    lines = path.read_text().splitlines() if path.exists() else []
    calls = [rest for first, *rest in map(json.loads, lines) if first == name]
    if len(calls) >= count or time.monotonic() > end:
      return sorted(calls)
    time.sleep(0.01)


def place(machine, monkeypatch, name):
  if name != 'tpu_pod.sh':  # There it is ~/vit_jax by default.
    monkeypatch.setenv('VIT_JAX', str(machine / 'vit_jax'))


@pytest.mark.parametrize('command', STARTS, ids=' '.join)
def test_every_process_gets_its_arguments(machine, monkeypatch, command):
  place(machine, monkeypatch, command[0])
  done = start(*command, *TRAIN)
  assert done.returncode == 0, done.stderr
  wanted = STARTS[command]
  assert noted(machine, 'vit_jax', len(wanted)) == wanted


@pytest.mark.parametrize('command', STARTS, ids=' '.join)
def test_a_dry_run_prints_what_it_would_start(machine, monkeypatch, command):
  place(machine, monkeypatch, command[0])
  name, *arguments = command
  shown = start(name, '--dry-run', *arguments, *TRAIN)
  assert shown.returncode == 0, shown.stderr
  assert not (machine / 'notes').exists()
  start(*command, *TRAIN)
  scheduler = {'slurm.sh': 'sbatch', 'tpu_pod.sh': 'gcloud'}.get(name, 'ssh')
  printed = [typed(line) for line in shown.stdout.splitlines()]
  calls = noted(machine, scheduler)
  if calls:
    assert sorted(printed) == [[scheduler, *call] for call in calls]
  else:
    assert printed[0][1:] == [f'{machine}/vit_jax/.venv/bin/vit_jax', *TRAIN]


def test_lines_of_a_dry_run_do_not_mix(machine, monkeypatch):
  place(machine, monkeypatch, 'gpu_node.sh')
  slow = '[[ ${FUNCNAME:-} != run ]] || sleep 0.5'  # Before each part of it.
  script(machine / 'env', f"set -T; trap '{slow}' DEBUG")
  monkeypatch.setenv('BASH_ENV', str(machine / 'env'))
  shown = start('gpu_node.sh', '--dry-run', 'one', 'two', '--', *TRAIN)
  lines = sorted(map(typed, shown.stdout.splitlines()))
  assert [line[:3] for line in lines] == [
    ['ssh', '-tt', 'one'],
    ['ssh', '-tt', 'two'],
  ]


def typed(line):
  """Returns the words of a line as bash reads them."""
  shell = ['bash', '-c', f"printf '%s\\0' {line}"]
  return subprocess.check_output(shell, text=True).split('\0')[:-1]


def test_slurm_queues_again_what_may_go_on(machine, monkeypatch):
  place(machine, monkeypatch, 'slurm.sh')
  for status, again in ('75', True), ('134', True), ('2', False), ('0', False):
    (machine / 'ends').write_text(f'{status}\n')
    (machine / 'notes').unlink(missing_ok=True)
    assert start('slurm.sh', '2', '8', *TRAIN).returncode == int(status)
    assert noted(machine, 'scontrol') == [['requeue', '7']] * again
  monkeypatch.setenv('SLURM_RESTART_COUNT', '100')
  (machine / 'ends').write_text('75\n')
  start('slurm.sh', '2', '8', *TRAIN)
  assert noted(machine, 'scontrol') == []


@pytest.mark.parametrize(
  ('ends', 'status'), [('75 134 0 0', 0), ('70 2 0', 2), ('1 1 1 1', 1)]
)
def test_it_goes_on_until_it_is_done_or_must_be_mended(
  machine, monkeypatch, ends, status
):
  monkeypatch.setenv('TRIES', '3')
  (machine / 'ends').write_text(ends.replace(' ', '\n') + '\n')
  done = start('keep_going.sh', machine / 'vit_jax/.venv/bin/vit_jax', *TRAIN)
  assert done.returncode == status
  count = min(3, 1 + ends.split().index(str(status)) if status != 1 else 3)
  assert noted(machine, 'vit_jax') == [TRAIN] * count


def test_told_to_stop_it_waits_for_the_command_and_stays_stopped(tmp_path):
  saving = "trap 'kill %1; sleep 0.3; exit 75' TERM; sleep 600 & echo up; wait"
  script(tmp_path / 'run', saving)
  command = ['bash', LAUNCH / 'keep_going.sh', tmp_path / 'run']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
    assert running.stdout.readline() == 'up\n'
    running.send_signal(signal.SIGTERM)
    assert running.wait(120) == 75
    assert 'up' not in running.stdout.read()


def test_told_to_stop_as_the_command_starts_it_tells_the_command(
  tmp_path, monkeypatch
):
  """The signal comes before it has the number of the process."""
  up, run = tmp_path / 'up', tmp_path / 'run'
  work = 'for i in {1..600}; do sleep 0.1; done'
  script(run, f"trap 'exit 75' TERM; echo >>{up}; {work}")
  before = '[[ $BASH_COMMAND != child=* || -n $sent ]] || { sent=1; tell; }'
  tell = f'until [ -s {up} ]; do sleep 0.01; done; kill -TERM $$'
  traced = f"sent=; tell() {{ {tell}; }}; set -T; trap '{before}' DEBUG"
  script(tmp_path / 'env', traced)
  monkeypatch.setenv('BASH_ENV', str(tmp_path / 'env'))
  done = start('keep_going.sh', run)
  assert done.returncode == 75, done.stderr
  assert up.read_text() == '\n'


@pytest.fixture
def jobset(machine):
  done = start('gke_jobset.sh', '--dry-run', *SLICES, *TRAIN)
  assert done.returncode == 0, done.stderr
  assert start('gke_jobset.sh', *SLICES, *TRAIN).stdout == done.stdout
  assert noted(machine, 'kubectl') == [['apply', '--filename=-']]
  return yaml.safe_load(done.stdout)


def test_the_jobset_is_filled_in(jobset):
  assert jobset['metadata']['name'] == 'vitb'
  (slices,) = jobset['spec']['replicatedJobs']
  job = slices['template']['spec']
  assert (slices['replicas'], job['parallelism'], job['completions']) == (
    2,
    4,
    4,
  )
  pod = job['template']['spec']
  assert set(pod['nodeSelector'].values()) == {'tpu-v5p-slice', '2x2x4'}
  (container,) = pod['containers']
  assert container['image'] == 'gcr.io/me/image'
  assert container['command'] == ['vit_jax', *TRAIN]
  assert container['resources'] == {'limits': {'google.com/tpu': 4}}
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['onExitCodes']['values'] == [2]  # All else starts again.


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_without_arguments_it_says_how_it_is_used(machine, path):
  if path.name == 'keep_going.sh':
    pytest.skip('it takes any command')
  done = start(path.name)
  assert done.returncode == 2
  assert f'launch/{path.name} [--dry-run]' in done.stderr
  assert not (machine / 'notes').exists()


def test_shellcheck_finds_nothing():
  here = os.path.dirname(sys.executable)
  checker = shutil.which('shellcheck', path=f'{here}:{os.environ["PATH"]}')
  if checker is None:
    pytest.skip('shellcheck is not there; the extra [test] brings it')
  done = subprocess.run([checker, *SCRIPTS], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout
