"""Restarts: for as long as that helps, later and later; a stop is a stop."""

import contextlib
import os
import re
import signal
import subprocess

import pytest


@pytest.mark.parametrize(
  ('ends', 'count'),
  [
    ((75, 134, 0, 0), 3),
    ((70, 2, 0), 2),
    ((126, 0), 1),
    ((1, 127, 0), 2),
    ((1, 1, 1, 1), 3),  # TRIES.
  ],
)
def test_it_goes_on_until_it_is_done_or_must_be_mended(
  machine, monkeypatch, ends, count
):
  monkeypatch.setenv('TRIES', '3')
  machine.ends(*ends)
  done = machine.start('keep_going.sh', 'vit_jax', *machine.train)
  assert done.returncode == ends[count - 1]
  assert machine.noted('vit_jax') == [[*machine.train]] * count
  assert done.stderr.count('restarting in') == count - 1


@pytest.mark.parametrize(
  ('variables', 'pauses'),
  [
    ({'PAUSE': '7', 'MAX_PAUSE': '20'}, [7, 14, 20, 20, 20, 20, 20]),
    ({'PAUSE': '10', 'STEADY': '0'}, [10] * 7),  # Each has run for long.
    ({}, [10, 20, 40, 80, 160, 300, 300]),
  ],
)
def test_pauses_become_longer_until_a_start_has_run_for_long(
  machine, monkeypatch, variables, pauses
):
  machine.script('bin/sleep', 'echo "$1" >>"$HOME/pauses"')
  monkeypatch.delenv('PAUSE')
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  machine.ends(*[1] * 7, 0)
  done = machine.start('keep_going.sh', 'vit_jax', *machine.train)
  assert done.returncode == 0
  lines = (machine.home / 'pauses').read_text().splitlines()
  assert [*map(int, lines)] == pauses
  told = re.findall(r'exited with 1; restarting in (\d+) s', done.stderr)
  assert [*map(int, told)] == pauses


@pytest.mark.parametrize('name', ['TRIES', 'PAUSE', 'MAX_PAUSE', 'STEADY'])
def test_a_setting_that_is_no_number_is_refused(machine, monkeypatch, name):
  monkeypatch.setenv(name, '1.5')
  done = machine.start('keep_going.sh', 'vit_jax', *machine.train)
  assert done.returncode == 2 and name in done.stderr
  assert machine.noted('vit_jax') == []


def test_lines_of_a_log_begin_with_the_host_and_the_process(machine):
  machine.script('bin/vit_jax', 'echo out; echo err >&2; printf "no end"')
  done = machine.start('keep_going.sh', 'vit_jax', 'train', '--process_id=3')
  host = os.uname().nodename.partition('.')[0]
  assert done.stdout == f'[{host} 3] out\n[{host} 3] no end'
  assert done.stderr == f'[{host} 3] err\n'


def test_the_run_outlives_the_reader_of_its_log(machine):
  machine.script(
    'bin/vit_jax',
    'for i in {1..50}; do echo line || exit 9; sleep 0.01; done; '
    'echo done >"$HOME/done"',
  )
  command = f'bash {machine.launch}/keep_going.sh vit_jax train | head -n1'
  subprocess.run(['bash', '-c', command], check=True, timeout=100)
  assert (machine.home / 'done').exists()


def test_told_to_stop_it_waits_for_the_command_and_stays_stopped(machine):
  saving = (
    "trap 'kill %1; sleep 0.3; echo saved; exit 75' TERM; sleep 600 &"
    ' echo up; wait'
  )
  machine.script('run', saving)
  command = ['bash', machine.launch / 'keep_going.sh', machine.home / 'run']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
    assert running.stdout.readline().endswith('] up\n')
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(120) == 75
    (rest,) = running.stdout.read().splitlines()
    assert rest.endswith('] saved')


def test_told_to_stop_as_the_command_starts_it_tells_the_command(
  machine, monkeypatch
):
  """The signal comes before it has the number of the process."""
  up, run = machine.home / 'up', machine.home / 'run'
  work = 'for i in {1..600}; do sleep 0.1; done'
  machine.script('run', f"trap 'exit 75' TERM; echo >>{up}; {work}")
  before = '[[ $BASH_COMMAND != child=* || -n $sent || $child ]] || '
  before += '{ [[ ${FUNCNAME:-} != attend ]] || { sent=1; tell; }; }'
  tell = f'until [ -s {up} ]; do sleep 0.01; done; kill -TERM $$'
  traced = f"sent=; tell() {{ {tell}; }}; set -T; trap '{before}' DEBUG"
  machine.script('env', traced)
  monkeypatch.setenv('BASH_ENV', str(machine.home / 'env'))
  done = machine.start('keep_going.sh', run)
  assert done.returncode == 75, done.stderr
  assert up.read_text() == '\n'


@pytest.mark.parametrize('is_leader', [True, False])
def test_a_closed_terminal_is_told_once(machine, is_leader):
  """To the leader of a session by the kernel; else to all by a shell."""
  told = machine.home / 'told'
  traps = ' '.join(
    f"trap 'echo {name} >>{told}' {name};" for name in ('HUP', 'TERM', 'INT')
  )
  wait = f'until [[ -e {told} ]]; do sleep 0.01; done; sleep 0.3; exit 75'
  machine.script('run', f'{traps} echo up; {wait}')
  command = ['bash', machine.launch / 'keep_going.sh', machine.home / 'run']
  if not is_leader:
    command = ['bash', '-c', '"$@"; exit $?', 'shell', *command]
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, text=True, start_new_session=True
  ) as running:
    try:
      assert running.stdout.readline().endswith('] up\n')
      if is_leader:
        os.kill(running.pid, signal.SIGHUP)
        assert running.wait(60) == 75
      else:
        os.killpg(running.pid, signal.SIGHUP)
        running.stdout.read()  # Until all have ended.
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
  assert len(told.read_text().split()) == 1


@pytest.mark.parametrize('status', [75, 2, 0])
def test_a_command_that_ends_at_once_when_told_keeps_its_status(
  machine, monkeypatch, status
):
  """It is gone before the launcher looks again."""
  waiting = 'echo up; while :; do :; done'
  machine.script('run', f"trap 'exit {status}' TERM; {waiting}")
  gone = 'while [[ -e /proc/$child ]]; do sleep 0.01; done'
  traced = f"set -T; trap '[[ $BASH_COMMAND != status=* ]] || {gone}' DEBUG"
  machine.script('env', traced)
  monkeypatch.setenv('BASH_ENV', str(machine.home / 'env'))
  command = ['bash', machine.launch / 'keep_going.sh', machine.home / 'run']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
    assert running.stdout.readline().endswith('] up\n')
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(120) == status
