"""Faults 26 to 32: runs of two processes, one of which goes wrong."""

import signal
import socket
import time

import pytest

from vit_jax.training.runtime import peers, process_log

fault = pytest.mark.fault

DOG = '--config.run.watchdog_seconds=10'
HANG = 6000  # Seconds: for whoever waits for it, it never comes.


def statuses(processes):
  return [process.wait() for process in processes]


def waits(number, point, count):
  """Faults of two processes, of which one waits at a point for a signal."""
  faults = [{}, {}]
  faults[number] = {'tell': {'point': point, 'count': count, 'then': 'wait'}}
  return tuple(faults)


def assert_last_words(process, workdir, lost, reason=''):
  """Checks the last lines of the peer of a process, and those of its log."""
  survivor = 1 - lost
  host = socket.gethostname()
  what, advice = str(process).splitlines()[-2:]
  assert what.endswith(
    f'Process {lost} on {host} is gone{reason}. Process {survivor} on {host} '
    f'cannot go on without it, and ends with status {peers.STATUS}.'
  )
  log = process_log.path(workdir, lost)
  assert 'the same command resumes from the last checkpoint' in advice
  assert advice.endswith(f'What process {lost} said last: {log}')
  *_, also_what, also_advice = (
    process_log.path(workdir, survivor).read_text().splitlines()
  )
  assert what.partition('] ')[2] in also_what
  assert advice.partition('] ')[2] in also_advice


def finish_same(runs, workdir, together, **options):
  """Goes on to the end; it must be as if nothing had happened, bit by bit."""
  runs.finish_together(workdir, **options)
  runs.assert_same(runs.outcome(workdir), runs.outcome(together[0]))


@pytest.mark.parametrize(
  'number', [pytest.param(0, marks=pytest.mark.chaos), 1]
)
@fault(26, 'SIGTERM to one of two processes', 'both save one step, exit 75')
def test_sigterm_to_one_process_stops_both_at_one_step(
  runs, together, tmp_path, number
):
  faults = waits(number, 'step', 5)
  processes = runs.train_together(tmp_path, faults=faults)
  processes[number].wait_for('AT step')
  processes[number].signal(signal.SIGTERM)
  assert statuses(processes) == [75, 75], '\n'.join(map(str, processes))
  steps = {
    str(process).split('Stopped after step ')[1][:2] for process in processes
  }
  assert len(steps) == 1
  finish_same(runs, tmp_path, together)


@pytest.mark.chaos
@fault(24, 'SIGTERM to a process waiting for data', 'both save and exit 75')
def test_sigterm_in_a_data_stall_of_one_process_stops_both(runs, tmp_path):
  stalled = {
    'stall': {'batch': 6, 'seconds': HANG},
    'tell': {'point': 'wait', 'count': 6},
  }
  processes = runs.train_together(tmp_path, faults=({}, stalled))
  processes[1].wait_for('AT wait')
  processes[1].signal(signal.SIGTERM)
  assert statuses(processes) == [75, 75], '\n'.join(map(str, processes))
  assert 'Stopped after step 5' in str(processes[0])


@pytest.mark.chaos
@fault(24, 'SIGTERM to one process in evaluation', 'both save and exit 75')
def test_sigterm_in_an_evaluation_stops_both(runs, together, tmp_path):
  faults = waits(1, 'evaluation', 2)
  processes = runs.train_together(tmp_path, faults=faults)
  processes[1].wait_for('AT evaluation')
  processes[1].signal(signal.SIGTERM)
  assert statuses(processes) == [75, 75], '\n'.join(map(str, processes))
  assert 'Stopped after step 8' in str(processes[1])
  finish_same(runs, tmp_path, together)


@pytest.mark.chaos
@fault(24, 'SIGTERM while waiting for the last images', 'evaluation is rerun')
def test_an_evaluation_that_lacks_its_last_batch_is_made_again(
  runs, together, tmp_path
):
  stalled = {'stall_evaluation': {'batch': 3, 'seconds': HANG}}
  processes = runs.train_together(tmp_path, faults=({}, stalled))
  processes[1].wait_for('AT the last batch')
  time.sleep(0.5)
  processes[1].signal(signal.SIGTERM)
  assert statuses(processes) == [75, 75], '\n'.join(map(str, processes))
  assert 'Stopped after step 4' in str(processes[0])
  assert '  eval  ' not in str(processes[0])
  finish_same(runs, tmp_path, together)


@pytest.mark.parametrize(
  'number', [pytest.param(0, marks=pytest.mark.chaos), 1]
)
@fault(28, 'SIGKILL to one of two processes', 'the other exits; same bits')
def test_the_peer_of_a_killed_process_exits(runs, together, tmp_path, number):
  faults = waits(number, 'step', 8)
  processes = runs.train_together(tmp_path, DOG, faults=faults)
  processes[number].wait_for('AT step')
  processes[number].signal(signal.SIGKILL)
  assert 0 not in statuses(processes)
  finish_same(runs, tmp_path, together)


@pytest.mark.chaos
@fault(
  29, 'SIGSTOP to one of two processes', 'the other prints stacks, exits 70'
)
def test_the_peer_of_a_stopped_process_shows_its_stacks_and_exits(
  runs, tmp_path
):
  faults = waits(1, 'step', 8)
  processes = runs.train_together(tmp_path, DOG, faults=faults, heartbeat=100)
  processes[1].wait_for('AT step')
  processes[1].signal(signal.SIGSTOP)
  try:
    assert statuses(processes[:1]) == [70]
    assert 'No progress for' in str(processes[0])
    assert 'vit_jax/training/train.py' in str(processes[0])
  finally:
    processes[1].signal(signal.SIGKILL)
    processes[1].wait()


@pytest.mark.chaos
@fault(
  30, 'an exception in one of two processes', 'both exit; cause is printed'
)
def test_an_exception_in_one_process_ends_both(runs, tmp_path):
  faults = ({}, {'fail_at_step': {'step': 5}})
  processes = runs.train_together(tmp_path, DOG, faults=faults)
  assert 0 not in statuses(processes)
  assert 'injected at step 5' in str(processes[1])
  assert 'Step 3 of 12 is saved' in str(processes[1])  # The others know not.
  reason = ': RuntimeError: injected at step 5'
  assert_last_words(processes[0], tmp_path, 1, reason)


@pytest.mark.chaos
@fault(31, 'one process starts 40 s late', 'the other waits; same bits')
def test_a_late_start_is_waited_for(runs, together, tmp_path):
  faults = ({}, {'late_start': {'seconds': 40}})
  finish_same(runs, tmp_path, together, faults=faults)


@pytest.mark.parametrize(
  ('what', 'options', 'difference'),
  [
    (
      'config',
      {'last': ['--config.optimizer.learning_rate=0.5']},
      'config.optimizer.learning_rate: 0.5 (wanted: 0.01)',
    ),
    pytest.param(
      'code',
      {'faults': ({}, {'other_code': {}})},
      'code: other (wanted: ',
      marks=pytest.mark.chaos,
    ),
    pytest.param(
      'data',
      {'faults': ({}, {'resize_data': {'num_examples': 39}})},
      'data.num_examples: 39 (wanted: 40)',
      marks=pytest.mark.chaos,
    ),
  ],
)
@fault(
  32,
  'processes of other code, configuration or data',
  'refused, naming the difference',
)
def test_processes_that_differ_are_refused(
  runs, tmp_path, what, options, difference
):
  processes = runs.train_together(tmp_path, **options)
  assert statuses(processes) == [2, 2]
  for process in processes:
    told = f'vit_jax: error: Process 1 has another {what} than process 0:'
    assert told in str(process)
    assert f'\n  ! {difference}' in str(process)


@fault(32, 'machines that share no disk', 'refused at the start')
def test_a_folder_that_is_not_shared_is_refused(runs, tmp_path):
  mine, other = tmp_path / 'mine', tmp_path / 'other'
  processes = runs.train_together(mine, last=[f'--workdir={other}'])
  assert statuses(processes) == [2, 2]
  wanted = f'--workdir={mine} of process 1 is not that of process 0'
  assert wanted in str(processes[0])
