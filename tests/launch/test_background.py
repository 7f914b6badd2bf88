"""TPU pods: one run on a machine, which outlives the terminal."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

LONG = (
  "trap 'echo saved; kill %1; exit 75' TERM\n"
  'case $2 in wait) echo up; sleep 600 & wait ;; *) exit "$2" ;; esac'
)


@pytest.fixture
def background(machine, wait_until):
  """Calls background.sh; what it has started is ended with the test."""
  machine.script('bin/vit_jax', LONG)

  def call(*arguments):
    done = machine.start('background.sh', *arguments)
    if arguments == ('start', 'train', 'wait') and done.returncode == 0:
      wait_until(
        lambda: machine.start('background.sh', 'logs').stdout.endswith('up\n')
      )
    return done

  call.pid = lambda: int((machine.home / 'vit_jax.pid').read_text())
  yield call
  machine.start('background.sh', 'stop')


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
  (machine.home / 'vit_jax.pid').write_text(f'{os.getpid()}\n')
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
    (machine.home / 'vit_jax.pid').write_text(f'{other.pid}\n')
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
    machine.start('tpu_pod.sh', *slices, task, 'pod', 'zone')
  calls = machine.noted('gcloud')
  kind = 'queued-resources' if slices else 'tpu-vm'
  assert all(
    call[:5] == ['compute', 'tpus', kind, 'ssh', 'pod'] for call in calls
  )
  assert all('--worker=all' in call for call in calls)
  assert all(('--node=all' in call) == bool(slices) for call in calls)
  assert [call[-1].split()[-1] for call in calls] == ['logs', 'status', 'stop']
