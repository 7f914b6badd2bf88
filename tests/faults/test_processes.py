"""Faults 26 to 32: runs of two processes, one of which goes wrong."""

import signal
import time

import pytest

fault = pytest.mark.fault

BATCH = '--config.run.batch_size=8'
DOG = '--config.run.watchdog_seconds=6'


@pytest.fixture(scope='module')
def together(runs, tmp_path_factory):
  """The outcome of a run of two processes that nothing interrupts."""
  workdir = tmp_path_factory.mktemp('together')
  processes = runs.train_together(workdir)
  assert [process.wait(120) for process in processes] == [0, 0], str(
    processes[0]
  )
  return runs.outcome(workdir)


def statuses(processes, seconds):
  """Returns the exit statuses, all of them there within so many seconds."""
  end = time.monotonic() + seconds
  return [process.wait(end - time.monotonic()) for process in processes]


def finish(runs, workdir):
  processes = runs.train_together(workdir)
  assert statuses(processes, 120) == [0, 0], str(processes[0])
  return runs.outcome(workdir)


@pytest.mark.parametrize(
  'number', [pytest.param(0, marks=pytest.mark.chaos), 1]
)
@fault(26, 'SIGTERM to one of two processes', 'both save one step, exit 75')
def test_sigterm_to_one_process_stops_both_at_one_step(
  runs, together, tmp_path, number
):
  slow = {'tell': {'point': 'step', 'count': 5, 'work': 3_000_000}}
  processes = runs.train_together(tmp_path, faults=(slow, slow))
  processes[number].wait_for('AT step')
  processes[number].signal(signal.SIGTERM)
  assert statuses(processes, 15) == [75, 75], '\n'.join(map(str, processes))
  steps = {
    str(process).split('Stopped after step ')[1][:2] for process in processes
  }
  assert len(steps) == 1
  runs.assert_same(finish(runs, tmp_path), together)


@pytest.mark.chaos
@fault(24, 'SIGTERM to a process that awaits data', 'both save and exit 75')
def test_sigterm_in_a_data_stall_of_one_process_stops_both(runs, tmp_path):
  stalled = {'stall': {'batch': 6, 'seconds': 600}}
  processes = runs.train_together(tmp_path, faults=({}, stalled))
  processes[0].wait_for('step 4/12')
  time.sleep(0.5)
  processes[1].signal(signal.SIGTERM)
  assert statuses(processes, 15) == [75, 75], '\n'.join(map(str, processes))
  assert 'Stopped after step 5' in str(processes[0])


@pytest.mark.chaos
@fault(24, 'SIGTERM to one process in evaluation', 'both save and exit 75')
def test_sigterm_in_an_evaluation_stops_both(runs, together, tmp_path):
  slow = {'tell': {'point': 'evaluation', 'count': 2, 'work': 3_000_000}}
  processes = runs.train_together(tmp_path, faults=(slow, slow))
  processes[1].wait_for('AT evaluation')
  processes[1].signal(signal.SIGTERM)
  assert statuses(processes, 15) == [75, 75], '\n'.join(map(str, processes))
  assert 'Stopped after step 8' in str(processes[1])
  runs.assert_same(finish(runs, tmp_path), together)


@pytest.mark.parametrize(
  'number', [pytest.param(0, marks=pytest.mark.chaos), 1]
)
@fault(28, 'SIGKILL to one of two processes', 'the other exits; same bits')
def test_the_peer_of_a_killed_process_exits(runs, together, tmp_path, number):
  slow = {'tell': {'point': 'step', 'count': 8, 'work': 3_000_000}}
  processes = runs.train_together(tmp_path, DOG, faults=(slow, slow))
  processes[number].wait_for('AT step')
  processes[number].signal(signal.SIGKILL)
  assert 0 not in statuses(processes, 30)
  runs.assert_same(finish(runs, tmp_path), together)


@pytest.mark.chaos
@fault(
  29, 'SIGSTOP to one of two processes', 'the other shows stacks, exits 70'
)
def test_the_peer_of_a_stopped_process_shows_its_stacks_and_exits(
  runs, tmp_path
):
  slow = {'tell': {'point': 'step', 'count': 8, 'work': 3_000_000}}
  processes = runs.train_together(
    tmp_path, DOG, faults=(slow, slow), heartbeat=100
  )
  processes[1].wait_for('AT step')
  processes[1].signal(signal.SIGSTOP)
  try:
    assert statuses(processes[:1], 60) == [70]
    assert 'No progress for' in str(processes[0])
    assert 'vit_jax/train.py' in str(processes[0])
  finally:
    processes[1].signal(signal.SIGKILL)
    processes[1].wait()


@pytest.mark.chaos
@fault(30, 'an exception in one of two processes', 'both exit; cause is shown')
def test_an_exception_in_one_process_ends_both(runs, tmp_path):
  faults = ({}, {'fail_at_step': {'step': 5}})
  processes = runs.train_together(tmp_path, DOG, faults=faults)
  assert 0 not in statuses(processes, 30)
  assert 'injected at step 5' in str(processes[1])


@pytest.mark.chaos
@fault(31, 'one process starts 40 s late', 'the other waits; same bits')
def test_a_late_start_is_waited_for(runs, together, tmp_path):
  faults = ({}, {'late_start': {'seconds': 40}})
  processes = runs.train_together(tmp_path, faults=faults)
  assert statuses(processes, 180) == [0, 0]
  runs.assert_same(runs.outcome(tmp_path), together)


@fault(32, 'processes of other code or configuration', 'refused at the start')
def test_processes_of_other_code_are_refused(runs, tmp_path):
  processes = runs.train_together(tmp_path, faults=({}, {'other_code': {}}))
  assert 0 not in statuses(processes, 30)
  assert 'Process 1 has another code than process 0' in str(processes[0])


@pytest.mark.chaos
@fault(21, 'two processes, then one, then two', 'every example; same state')
def test_the_number_of_processes_may_change(runs, together, tmp_path):
  recorded = tmp_path / 'indices'
  record = {'record_indices': {'path': str(recorded)}}
  stop = {'fail_at_step': {'step': 4}}
  processes = runs.train_together(tmp_path / 'run', DOG, faults=(stop, stop))
  assert 0 not in statuses(processes, 40)
  before = runs.arrays(tmp_path / 'run', step=3)
  run = runs.train(
    tmp_path / 'run', faults={**record, 'fail_at_step': {'step': 7}}
  )
  assert run.wait() == 1
  assert 'resumed at step 3' in str(run)
  assert before.keys() == runs.arrays(tmp_path / 'run', step=6).keys()
  given = finish(runs, tmp_path / 'run')
  for path, leaf in together.items():
    if path.startswith('params'):
      assert abs(given[path] - leaf).max() < 1e-3, path
