"""Launchers start what they say, and again for as long as that helps.

The schedulers are stood in for by scripts that start what they are given.
"""

import json
import mmap
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import jaxlib
import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / 'launch'
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
  ('tpu_pod.sh', '--queued-resource', 'slices', 'us-central2-b'): [TRAIN],
  ('slurm.sh', '2', '8'): [TRAIN],
}
# What they do once they have noted their arguments. Slurm runs a copy of the
# script from another place, and tells which task has failed.
STAND_INS = {
  'ssh': 'shift 2; exec bash -c "$*"',
  'gcloud': 'for word; do command=${word#--command=}; done; bash -c "$command"',
  'sbatch': 'while [[ $1 == --* ]]; do shift; done\n'
  'cp "$1" "$HOME/job"; shift\n'
  'SLURM_CPUS_PER_TASK=12 exec bash "$HOME/job" "$@"',
  'srun': 'while [[ $1 == --* ]]; do shift; done; "$@"; status=$?\n'
  'if [[ $status != 0 ]]; then\n'
  '  echo "srun: error: node7: task 9: Exited with exit code $status" >&2\n'
  'fi\nexit "${SRUN_STATUS:-$status}"',
  'scontrol': '',
  'sinfo': 'cat "$HOME/sinfo"',
  'kubectl': 'cat',
}
SINFO = 'cpu 16 (null)\nh100* 96 gpu:h100:8(S:0-1)\nh100* 192+ gpu:h100:8\n'


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
  script(tmp_path / 'bin/vit_jax', ends)
  (tmp_path / 'vit_jax').mkdir()
  (tmp_path / 'vit_jax/launch').symlink_to(LAUNCH)
  (tmp_path / 'ends').write_text('0\n0\n')
  (tmp_path / 'sinfo').write_text(SINFO)
  for name in [*os.environ]:
    if name.startswith(('NCCL', 'XLA', 'SLURM', 'SBATCH', 'JAX_', 'LIBTPU')):
      monkeypatch.delenv(name)
  for name, value in {
    'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    'HOME': tmp_path,
    'NOTES': notes,
    'ENDS': tmp_path / 'ends',
    'PAUSE': '0',
    'SLURM_JOB_ID': '7',
    'NVIDIA_DEVICE': tmp_path / 'no such device',
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


def typed(line):
  """Returns the words of a line as bash reads them."""
  shell = ['bash', '-c', f"printf '%s\\0' {line}"]
  return subprocess.check_output(shell, text=True).split('\0')[:-1]


@pytest.mark.parametrize('command', STARTS, ids=' '.join)
def test_every_process_gets_its_arguments(machine, command):
  done = start(*command, *TRAIN)
  assert done.returncode == 0, done.stderr
  wanted = STARTS[command]
  assert noted(machine, 'vit_jax', len(wanted)) == wanted


@pytest.mark.parametrize('command', STARTS, ids=' '.join)
def test_a_dry_run_prints_what_it_would_start(machine, command):
  name, *arguments = command
  shown = start(name, '--dry-run', *arguments, *TRAIN)
  assert shown.returncode == 0, shown.stderr
  started = {name for name in STAND_INS if noted(machine, name)}
  assert started <= {'sinfo'} and not noted(machine, 'vit_jax')
  start(*command, *TRAIN)
  scheduler = {'slurm.sh': 'sbatch', 'tpu_pod.sh': 'gcloud'}.get(name, 'ssh')
  printed = [typed(line) for line in shown.stdout.splitlines()]
  calls = noted(machine, scheduler)
  if calls:
    assert sorted(printed) == [[scheduler, *call] for call in calls]
  else:
    assert printed == [[f'{LAUNCH}/keep_going.sh', 'vit_jax', *TRAIN]]


def test_lines_of_a_dry_run_do_not_mix(machine, monkeypatch):
  slow = '[[ ${FUNCNAME:-} != run ]] || sleep 0.5'  # Before each part of it.
  script(machine / 'env', f"set -T; trap '{slow}' DEBUG")
  monkeypatch.setenv('BASH_ENV', str(machine / 'env'))
  shown = start('gpu_node.sh', '--dry-run', 'one', 'two', '--', *TRAIN)
  lines = sorted(map(typed, shown.stdout.splitlines()))
  assert [line[:3] for line in lines] == [
    ['ssh', '-tt', 'one'],
    ['ssh', '-tt', 'two'],
  ]


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_without_arguments_it_says_how_it_is_used(machine, path):
  if path.name in ('environment.sh', 'slurm_job.sh'):
    pytest.skip('started by others')
  done = start(path.name)
  assert done.returncode == 2
  assert f'launch/{path.name} [--dry-run]' in done.stderr
  assert not done.stderr.startswith('#') and 'set -' not in done.stderr
  assert not (machine / 'notes').exists()


def test_shellcheck_finds_nothing():
  here = os.path.dirname(sys.executable)
  checker = shutil.which('shellcheck', path=f'{here}:{os.environ["PATH"]}')
  if checker is None:
    pytest.skip('shellcheck is not there; the extra [test] brings it')
  command = [checker, '--external-sources', *SCRIPTS]
  done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
  assert done.returncode == 0, done.stdout


# The environment -------------------------------------------------------------


def environment(*command):
  """Returns {name: value} that keep_going.sh gives a command."""
  done = start('keep_going.sh', *command, 'env', '--null')
  assert done.returncode == 0, done.stderr
  lines = (line.partition('=') for line in done.stdout.split('\0'))
  return {name.rpartition('] ')[2]: value for name, _, value in lines}


def test_a_gpu_gets_its_environment_and_other_machines_do_not(
  machine, monkeypatch
):
  monkeypatch.setenv('TRIES', '1')
  assert 'XLA_FLAGS' not in environment()
  monkeypatch.setenv('NVIDIA_DEVICE', '/dev/null')
  found = environment()
  assert found['XLA_CLIENT_MEM_FRACTION'] == '0.9'
  assert found['XLA_FLAGS'] == '--xla_gpu_enable_latency_hiding_scheduler=true'
  assert (found['NCCL_DEBUG'], found['PYTHONUNBUFFERED']) == ('WARN', '1')


@pytest.mark.parametrize(
  ('given', 'wanted'),
  [
    ({'NCCL_DEBUG': 'INFO'}, {'NCCL_DEBUG': 'INFO'}),
    ({'NCCL_DEBUG': ''}, {'NCCL_DEBUG': ''}),
    ({'XLA_CLIENT_MEM_FRACTION': '.5'}, {'XLA_CLIENT_MEM_FRACTION': '.5'}),
    (  # jaxlib refuses both.
      {'XLA_PYTHON_CLIENT_MEM_FRACTION': '.5'},
      {'XLA_CLIENT_MEM_FRACTION': None},
    ),
    (
      {'XLA_FLAGS': '--xla_dump_to=/tmp/a b'},
      {
        'XLA_FLAGS': '--xla_dump_to=/tmp/a b '
        '--xla_gpu_enable_latency_hiding_scheduler=true'
      },
    ),
    (
      {'XLA_FLAGS': '--xla_gpu_enable_latency_hiding_scheduler=false'},
      {'XLA_FLAGS': '--xla_gpu_enable_latency_hiding_scheduler=false'},
    ),
  ],
)
def test_what_is_set_keeps_its_value(machine, monkeypatch, given, wanted):
  for name, value in {
    'NVIDIA_DEVICE': '/dev/null',
    'TRIES': '1',
    **given,
  }.items():
    monkeypatch.setenv(name, value)
  found = environment()
  assert {name: found.get(name) for name in wanted} == wanted


def test_jaxlib_knows_what_is_set():
  folder = pathlib.Path(jaxlib.__file__).parent
  text = (LAUNCH / 'environment.sh').read_text()
  flags = set(re.findall(r'--(xla_gpu_\w+)', text))
  assert flags
  with (
    (folder / 'libjax_common.so').open('rb') as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library,
  ):
    assert [flag for flag in flags if library.find(flag.encode()) < 0] == []
  client = (folder / 'xla_client.py').read_text()
  for name in re.findall(r'\bXLA_(?:PYTHON_)?CLIENT_\w+', text):
    assert f"'{name}'" in client


FORWARDED = {'XLA_FLAGS': "--a='b c' --d", 'NCCL_SOCKET_IFNAME': 'eth0'}


@pytest.mark.parametrize(
  ('command', 'scheduler'),
  [
    (('gpu_node.sh', 'one', '--'), 'ssh'),
    (('tpu_pod.sh', 'pod', 'zone'), 'gcloud'),
  ],
)
def test_other_machines_get_what_is_set_here(
  machine, monkeypatch, command, scheduler
):
  for name, value in FORWARDED.items():
    monkeypatch.setenv(name, value)
  printed = typed(start(command[0], '--dry-run', *command[1:], *TRAIN).stdout)
  words = typed(printed[-1].removeprefix('--command='))
  assert words[0] == 'env'
  assert {f'{name}={value}' for name, value in FORWARDED.items()} <= {*words}
  assert 'XLA_CLIENT_MEM_FRACTION' not in printed[-1]  # That of the machine.
  assert printed[0] == scheduler


@pytest.mark.parametrize(
  ('given', 'made'),
  [
    ('', 'bin/vit_jax'),  # On PATH.
    ('other_vit', 'bin/other_vit'),
    ('{}/own', 'own'),
    ('{}/venv', 'venv/bin/vit_jax'),
    ('{}/checkout', 'checkout/.venv/bin/vit_jax'),
    ('~/folder', 'folder/vit_jax'),
  ],
)
def test_the_program_may_be_named(machine, monkeypatch, given, made):
  script(machine / made, 'echo started')
  monkeypatch.setenv('VIT_JAX', given.format(machine))
  printed = start('keep_going.sh', '--dry-run', 'vit_jax', *TRAIN).stdout
  assert typed(printed)[-len(TRAIN) - 1 :] == [str(machine / made), *TRAIN]


@pytest.mark.parametrize(
  'command', [('keep_going.sh', 'vit_jax'), ('background.sh', 'start')]
)
def test_a_program_that_is_not_there_is_named_and_tried_once(
  machine, monkeypatch, command
):
  monkeypatch.setenv('VIT_JAX', '/no/such/folder')
  done = start(*command, *TRAIN)
  assert done.returncode == 127
  (line,) = done.stderr.splitlines()
  assert 'there is no vit_jax (VIT_JAX=/no/such/folder, ' in line


# Restarts --------------------------------------------------------------------


@pytest.mark.parametrize(
  ('ends', 'count'),
  [
    ('75 134 0 0', 3),
    ('70 2 0', 2),
    ('126 0', 1),
    ('1 127 0', 2),
    ('1 1 1 1', 3),  # TRIES.
  ],
)
def test_it_goes_on_until_it_is_done_or_must_be_mended(
  machine, monkeypatch, ends, count
):
  monkeypatch.setenv('TRIES', '3')
  (machine / 'ends').write_text(ends.replace(' ', '\n') + '\n')
  done = start('keep_going.sh', 'vit_jax', *TRAIN)
  assert done.returncode == int(ends.split()[count - 1])
  assert noted(machine, 'vit_jax') == [TRAIN] * count
  assert done.stderr.count('restarting in') == count - 1


@pytest.mark.parametrize(
  ('variables', 'pauses'),
  [
    ({'PAUSE': '10'}, [10, 20, 40, 80, 160, 300, 300]),
    ({'PAUSE': '7', 'MAX_PAUSE': '20'}, [7, 14, 20, 20, 20, 20, 20]),
    ({'PAUSE': '10', 'STEADY': '0'}, [10] * 7),  # Each has run for long.
    ({}, [10, 20, 40, 80, 160, 300, 300]),
  ],
)
def test_pauses_become_longer_until_a_start_has_run_for_long(
  machine, monkeypatch, variables, pauses
):
  script(machine / 'bin/sleep', 'echo "$1" >>"$HOME/pauses"')
  monkeypatch.delenv('PAUSE')
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  (machine / 'ends').write_text('1\n' * 7 + '0\n')
  done = start('keep_going.sh', 'vit_jax', *TRAIN)
  assert done.returncode == 0
  lines = (machine / 'pauses').read_text().splitlines()
  assert [*map(int, lines)] == pauses
  told = re.findall(r'exited with 1; restarting in (\d+) s', done.stderr)
  assert [*map(int, told)] == pauses


@pytest.mark.parametrize('name', ['TRIES', 'PAUSE', 'MAX_PAUSE', 'STEADY'])
def test_a_setting_that_is_no_number_is_refused(machine, monkeypatch, name):
  monkeypatch.setenv(name, '1.5')
  done = start('keep_going.sh', 'vit_jax', *TRAIN)
  assert done.returncode == 2 and name in done.stderr
  assert noted(machine, 'vit_jax') == []


def test_lines_of_a_log_begin_with_the_host_and_the_process(machine):
  script(machine / 'bin/vit_jax', 'echo out; echo err >&2; printf "no end"')
  done = start('keep_going.sh', 'vit_jax', 'train', '--process_id=3')
  host = os.uname().nodename.partition('.')[0]
  assert done.stdout == f'[{host} 3] out\n[{host} 3] no end'
  assert done.stderr == f'[{host} 3] err\n'


def test_the_run_outlives_the_reader_of_its_log(machine):
  script(
    machine / 'bin/vit_jax',
    'for i in {1..50}; do echo line || exit 9; sleep 0.01; done; '
    'echo done >"$HOME/done"',
  )
  command = f'bash {LAUNCH}/keep_going.sh vit_jax train | head -n1'
  subprocess.run(['bash', '-c', command], check=True, timeout=100)
  assert (machine / 'done').exists()


def test_told_to_stop_it_waits_for_the_command_and_stays_stopped(tmp_path):
  saving = (
    "trap 'kill %1; sleep 0.3; echo saved; exit 75' TERM; sleep 600 &"
    ' echo up; wait'
  )
  script(tmp_path / 'run', saving)
  command = ['bash', LAUNCH / 'keep_going.sh', tmp_path / 'run']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
    assert running.stdout.readline().endswith('] up\n')
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(120) == 75
    (rest,) = running.stdout.read().splitlines()
    assert rest.endswith('] saved')


def test_told_to_stop_as_the_command_starts_it_tells_the_command(
  tmp_path, monkeypatch
):
  """The signal comes before it has the number of the process."""
  up, run = tmp_path / 'up', tmp_path / 'run'
  work = 'for i in {1..600}; do sleep 0.1; done'
  script(run, f"trap 'exit 75' TERM; echo >>{up}; {work}")
  before = '[[ $BASH_COMMAND != child=* || -n $sent || $child ]] || '
  before += '{ [[ ${FUNCNAME:-} != attend ]] || { sent=1; tell; }; }'
  tell = f'until [ -s {up} ]; do sleep 0.01; done; kill -TERM $$'
  traced = f"sent=; tell() {{ {tell}; }}; set -T; trap '{before}' DEBUG"
  script(tmp_path / 'env', traced)
  monkeypatch.setenv('BASH_ENV', str(tmp_path / 'env'))
  done = start('keep_going.sh', run)
  assert done.returncode == 75, done.stderr
  assert up.read_text() == '\n'


@pytest.mark.parametrize('status', [75, 2, 0])
def test_a_command_that_ends_at_once_when_told_keeps_its_status(
  tmp_path, monkeypatch, status
):
  """It is gone before the launcher looks again."""
  script(
    tmp_path / 'run', f"trap 'exit {status}' TERM; echo up; while :; do :; done"
  )
  gone = 'while [[ -e /proc/$child ]]; do sleep 0.01; done'
  traced = f"set -T; trap '[[ $BASH_COMMAND != status=* ]] || {gone}' DEBUG"
  script(tmp_path / 'env', traced)
  monkeypatch.setenv('BASH_ENV', str(tmp_path / 'env'))
  command = ['bash', LAUNCH / 'keep_going.sh', tmp_path / 'run']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
    assert running.stdout.readline().endswith('] up\n')
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(120) == status


# Several machines by ssh -----------------------------------------------------

SAVES = (
  'trap \'echo saved >>"$HOME/saved"; kill %1; exit 75\' TERM\n'
  'case "$*" in *--process_id=1*)\n'
  '  until [[ -e $HOME/up ]]; do sleep 0.01; done; exit 2 ;;\n'
  'esac\necho >>"$HOME/up"; sleep 600 & wait'
)


def test_a_machine_that_fails_is_named_and_the_others_are_ended(machine):
  script(machine / 'bin/vit_jax', SAVES)
  done = start('gpu_node.sh', 'one', 'two', '--', *TRAIN)
  assert done.returncode == 2
  assert 'two (process 1) has ended with 2; ending the others' in done.stderr
  assert (machine / 'saved').read_text() == 'saved\n'


def test_a_signal_ends_all_machines(machine, wait_until):
  script(machine / 'bin/vit_jax', SAVES.replace('exit 2', 'true'))
  (machine / 'up').touch()
  command = ['bash', LAUNCH / 'gpu_node.sh', 'one', 'two', '--', *TRAIN]
  with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
    wait_until(lambda: (machine / 'up').read_text().count('\n') == 2)
    running.send_signal(signal.SIGTERM)
    assert running.wait(120) == 130
  wait_until(lambda: (machine / 'saved').read_text() == 'saved\n' * 2)


# Slurm -----------------------------------------------------------------------


@pytest.mark.parametrize(
  ('status', 'again'),
  [('75', 1), ('134', 1), ('2', 0), ('0', 0), ('126', 0), ('127', 0)],
)
def test_slurm_queues_again_what_may_go_on(machine, status, again):
  (machine / 'ends').write_text(f'{status}\n')
  assert start('slurm.sh', '2', '8', *TRAIN).returncode == int(status)
  assert noted(machine, 'scontrol') == [['requeue', '7']] * again


def test_slurm_ends_after_so_many_starts(machine, monkeypatch):
  monkeypatch.setenv('SLURM_RESTART_COUNT', '100')
  (machine / 'ends').write_text('75\n')
  assert start('slurm.sh', '2', '8', *TRAIN).returncode == 75
  assert noted(machine, 'scontrol') == []


def test_slurm_asks_which_task_failed_first(machine, monkeypatch):
  """The others are killed, and srun returns the largest status of all."""
  monkeypatch.setenv('SRUN_STATUS', '137')
  (machine / 'ends').write_text('2\n134\n')
  done = start('slurm.sh', '2', '8', *TRAIN)
  assert done.returncode == 137 and noted(machine, 'scontrol') == []
  named = 'srun: error: node7: task 9: Exited with exit code 2'
  assert f'not requeued: {named}' in done.stderr
  start('slurm.sh', '2', '8', *TRAIN)
  assert noted(machine, 'scontrol') == [['requeue', '7']]


@pytest.mark.parametrize(
  ('sinfo', 'variables', 'cpus'),
  [
    (SINFO, {}, '12'),
    (SINFO, {'CPUS_PER_TASK': '5'}, '5'),
    ('a 64 gpu:4,nvme:2\n', {'SBATCH_PARTITION': 'a'}, '16'),
    ('a 64 gpu:a100:16(S:0)\n', {'SBATCH_PARTITION': 'a'}, '4'),
    ('a* 64 (null)\n', {}, '8'),  # A share of the GPUs asked for.
  ],
)
def test_slurm_gives_a_task_the_cpus_of_its_gpu(
  machine, monkeypatch, sinfo, variables, cpus
):
  (machine / 'sinfo').write_text(sinfo)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  done = start('slurm.sh', '--dry-run', '2', '8', *TRAIN)
  assert f'--cpus-per-task={cpus}' in typed(done.stdout)


@pytest.mark.parametrize('sinfo', ['', 'b 64 gpu:8\n', 'b* many (null)\n'])
def test_where_sinfo_does_not_tell_one_must(machine, sinfo):
  (machine / 'sinfo').write_text(sinfo)
  done = start('slurm.sh', '2', '8', *TRAIN)
  assert done.returncode == 2 and 'set CPUS_PER_TASK' in done.stderr
  assert noted(machine, 'sbatch') == []


def test_tasks_have_the_cpus_of_the_job(machine):
  start('slurm.sh', '2', '8', *TRAIN)
  (call,) = noted(machine, 'srun')
  options, started = call[: -2 - len(TRAIN)], call[-2 - len(TRAIN) :]
  assert {'--cpus-per-task=12', '--label', '--kill-on-bad-exit=1'} <= {*options}
  assert started == [f'{LAUNCH}/keep_going.sh', 'vit_jax', *TRAIN]


# TPU pods: one run on a machine ----------------------------------------------

LONG = (
  "trap 'echo saved; kill %1; exit 75' TERM\n"
  'case $2 in wait) echo up; sleep 600 & wait ;; *) exit "$2" ;; esac'
)


@pytest.fixture
def background(machine, wait_until):
  """Calls background.sh; what it has started is ended with the test."""
  script(machine / 'bin/vit_jax', LONG)

  def call(*arguments):
    done = start('background.sh', *arguments)
    if arguments == ('start', 'train', 'wait') and done.returncode == 0:
      wait_until(lambda: start('background.sh', 'logs').stdout.endswith('up\n'))
    return done

  call.pid = lambda: int((machine / 'vit_jax.pid').read_text())
  yield call
  start('background.sh', 'stop')


RUN = ('start', 'train', 'wait')


def test_a_second_start_is_refused_while_the_first_runs(background):
  assert background('status').returncode == 3
  first = background(*RUN)
  assert first.returncode == 0, first.stderr
  pid = background.pid()
  second = background(*RUN)
  assert second.returncode == 2
  assert f'a run is in progress, process {pid}: stop it' in second.stderr
  assert background.pid() == pid
  status = background('status')
  assert status.returncode == 0
  assert f': running, process {pid}: ' in status.stdout


def test_a_stop_waits_until_the_run_has_saved(background):
  background(*RUN)
  stopped = background('stop')
  assert stopped.returncode == 0 and stopped.stdout.endswith('] saved\n')
  status = background('status')
  assert status.returncode == 75
  assert ': ended with status 75: ' in status.stdout
  assert 'nothing is running' in background('stop').stdout
  assert background(*RUN).returncode == 0  # Again.


@pytest.mark.parametrize('status', ['2', '0'])
def test_the_status_of_a_run_is_kept(background, wait_until, status):
  background('start', 'train', status)
  wait_until(lambda: 'ended' in background('status').stdout)
  assert background('status').returncode == int(status)


def test_the_number_of_another_process_does_not_count(machine, background):
  (machine / 'vit_jax.pid').write_text(f'{os.getpid()}\n')
  told = background('status')
  assert (told.returncode, 'without a status' in told.stdout) == (1, True)
  assert background(*RUN).returncode == 0
  assert background.pid() != os.getpid()


def test_a_pid_file_of_a_live_run_is_respected_whoever_wrote_it(
  machine, background
):
  command = ['bash', '-c', 'exec -a keep_going.sh sleep 600']
  with subprocess.Popen(command) as other:
    while b'keep_going' not in (
      pathlib.Path(f'/proc/{other.pid}/cmdline').read_bytes()
    ):
      time.sleep(0.01)
    (machine / 'vit_jax.pid').write_text(f'{other.pid}\n')
    refused = background(*RUN)
    other.kill()
  assert refused.returncode == 2
  assert f'process {other.pid}' in refused.stderr


def test_what_a_killed_launcher_has_left_is_found_and_stopped(
  background, wait_until
):
  background(*RUN)
  pid = background.pid()
  os.kill(pid, signal.SIGKILL)
  wait_until(lambda: not pathlib.Path(f'/proc/{pid}').exists())
  refused = background(*RUN)
  assert refused.returncode == 2 and 'in progress' in refused.stderr
  assert background('stop').returncode == 0
  assert background(*RUN).returncode == 0


@pytest.mark.parametrize('slices', [(), ('--queued-resource',)])
def test_a_pod_is_asked_and_stopped_on_all_workers(machine, slices):
  for task in '--status', '--logs', '--stop':
    start('tpu_pod.sh', *slices, task, 'pod', 'zone')
  calls = noted(machine, 'gcloud')
  kind = 'queued-resources' if slices else 'tpu-vm'
  assert all(
    call[:5] == ['compute', 'tpus', kind, 'ssh', 'pod'] for call in calls
  )
  assert all('--worker=all' in call for call in calls)
  assert all(('--node=all' in call) == bool(slices) for call in calls)
  assert [call[-1].split()[-1] for call in calls] == ['logs', 'status', 'stop']


# GKE -------------------------------------------------------------------------

# Of JobSet v1alpha2 and of the parts of Kubernetes that it is made of.
KINDS = {
  *('apiVersion', 'kind', 'metadata', 'name', 'annotations', 'spec'),
  *('failurePolicy', 'maxRestarts', 'rules', 'action', 'onJobFailureReasons'),
  *('replicatedJobs', 'replicas', 'template', 'parallelism', 'completions'),
  *('backoffLimit', 'podFailurePolicy', 'onExitCodes', 'operator', 'values'),
  *('restartPolicy', 'serviceAccountName', 'terminationGracePeriodSeconds'),
  *('nodeSelector', 'containers', 'image', 'args', 'env', 'value', 'ports'),
  *('containerPort', 'resources', 'limits', 'volumeMounts', 'mountPath'),
  *('volumes', 'persistentVolumeClaim', 'claimName', 'csi', 'driver'),
  'volumeAttributes',
}
FREE = ('annotations', 'nodeSelector', 'limits', 'volumeAttributes')


def keys(value):
  if isinstance(value, list):
    return set().union(*map(keys, value))
  if not isinstance(value, dict):
    return set()
  inner = (keys(value[name]) for name in value if name not in FREE)
  return set(value).union(*inner)


def jobset(*arguments):
  """Returns a JobSet, its pods, and their container."""
  done = start('gke_jobset.sh', '--dry-run', *arguments)
  assert done.returncode == 0, done.stderr
  whole = yaml.safe_load(done.stdout)
  assert keys(whole) <= KINDS
  (slices,) = whole['spec']['replicatedJobs']
  pods = slices['template']['spec']['template']
  (container,) = pods['spec']['containers']
  return whole, pods, container


def test_the_jobset_is_filled_in_and_applied(machine):
  whole, pods, container = jobset(*SLICES, *TRAIN)
  applied = start('gke_jobset.sh', *SLICES, *TRAIN)
  assert yaml.safe_load(applied.stdout) == whole
  assert noted(machine, 'kubectl') == [['apply', '--filename=-']]
  assert whole['metadata']['name'] == 'vitb'
  (slices,) = whole['spec']['replicatedJobs']
  job = slices['template']['spec']
  counts = slices['replicas'], job['parallelism'], job['completions']
  assert counts == (2, 4, 4)
  selected = pods['spec']['nodeSelector'].values()
  assert {*selected} == {'tpu-v5p-slice', '2x2x4'}
  assert container['image'] == 'gcr.io/me/image'
  assert container['args'] == TRAIN
  assert container['resources'] == {'limits': {'google.com/tpu': 4}}
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['onExitCodes']['values'] == [2, 126, 127]  # All else again.


def test_a_run_in_a_bucket_mounts_nothing(machine, monkeypatch):
  cache = 'gs://bucket/compilation'
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', cache)
  _, pods, container = jobset(*SLICES, 'train', '--workdir=gs://bucket/run')
  assert (pods['spec']['volumes'], container['volumeMounts']) == ([], [])
  assert pods['metadata']['annotations'] == {}
  assert pods['spec']['serviceAccountName'] == 'default'
  given = {row['name']: row['value'] for row in container['env']}
  assert given['JAX_COMPILATION_CACHE_DIR'] == cache
  assert not {'VIT_JAX', 'PAUSE'} & {*given}


@pytest.mark.parametrize(
  ('name', 'kind'), [('CLAIM', 'persistentVolumeClaim'), ('BUCKET', 'csi')]
)
def test_a_folder_may_be_mounted(machine, monkeypatch, name, kind):
  monkeypatch.setenv(name, 'mine')
  monkeypatch.setenv('SERVICE_ACCOUNT', 'trainer')
  monkeypatch.setenv('NAMESPACE', 'vit')
  _, pods, container = jobset(*SLICES, *TRAIN)
  (volume,) = pods['spec']['volumes']
  assert 'mine' in str(volume[kind]) and volume['name'] == 'data'
  assert container['volumeMounts'] == [{'name': 'data', 'mountPath': '/data'}]
  is_bucket = pods['metadata']['annotations'] == {'gke-gcsfuse/volumes': 'true'}
  assert is_bucket == (kind == 'csi')
  assert pods['spec']['serviceAccountName'] == 'trainer'
  start('gke_jobset.sh', *SLICES, *TRAIN)
  assert '--namespace=vit' in noted(machine, 'kubectl')[0]


def test_two_folders_do_not_fit(machine, monkeypatch):
  monkeypatch.setenv('CLAIM', 'a')
  monkeypatch.setenv('BUCKET', 'b')
  done = start('gke_jobset.sh', *SLICES, *TRAIN)
  assert done.returncode == 2 and 'CLAIM or BUCKET' in done.stderr
  assert noted(machine, 'kubectl') == []


@pytest.mark.parametrize(
  'argument',
  ['a"b', 'a\\nb', "it's", '&', 'a b # c', '{CHIPS}', 'é: -', 'a\nb'],
)
def test_arguments_survive_yaml(machine, monkeypatch, argument):
  monkeypatch.setenv('XLA_FLAGS', argument)
  _, _, container = jobset(*SLICES, 'train', f'--workdir={argument}')
  assert container['args'] == ['train', f'--workdir={argument}']
  assert {'name': 'XLA_FLAGS', 'value': argument} in container['env']


# The image -------------------------------------------------------------------


def test_the_image_has_what_it_copies_and_starts():
  text = (LAUNCH / 'Dockerfile').read_text()
  for line in re.findall('^COPY (?!--).*', text, re.M):
    for path in line.split()[1:-1]:
      assert (ROOT / path).exists(), path
  (entry,) = re.findall(r'^ENTRYPOINT (.*)', text, re.M)
  program, name = json.loads(entry)
  folder, _, started = program.rpartition('/')
  assert f'launch/{started} {folder}/\n' in text and name == 'vit_jax'
  assert os.access(LAUNCH / started, os.X_OK)
  sourced = re.findall(
    r'^source .*/(\w+\.sh)"', (LAUNCH / started).read_text(), re.M
  )
  assert sourced and all(f'launch/{name} ' in text for name in sourced)
  assert re.search(r'^USER ', text, re.M) and 'ARG ACCOUNT=vit_jax' in text


def test_the_entry_point_starts_once(machine, monkeypatch):
  monkeypatch.setenv('TRIES', '1')
  (machine / 'ends').write_text('75\n0\n')
  done = start('keep_going.sh', 'vit_jax', *TRAIN)
  assert (done.returncode, done.stderr) == (75, '')
  assert noted(machine, 'vit_jax') == [TRAIN]
