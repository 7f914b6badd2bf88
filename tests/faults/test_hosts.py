"""A run of several processes is a run of one: the same numbers, bit by bit.

Where sums are made in another order, to a tolerance; parameters then after
plain SGD, whose updates are as close as the gradients are.
"""

import re
import signal
import socket

import numpy as np
import pytest

from vit_jax.training.runtime import metrics_file, process_log, timings

fault = pytest.mark.fault

# Mixup makes pairs of the rows of a batch: their order counts.
SGD = ('--config.optimizer.name=sgd', '--config.data.mixup=0.5')
DOG = '--config.run.watchdog_seconds=10'


def devices(count):
  return {'settings': {'jax_num_cpu_devices': count}}


def record(path):
  return {'record_indices': {'path': str(path)}}


@pytest.fixture(scope='module')
def alone(runs, tmp_path_factory):
  """The folder of a run of one process with one device, by SGD."""
  workdir = tmp_path_factory.mktemp('alone')
  runs.finish(workdir, *SGD)
  return workdir


@pytest.fixture(scope='module')
def four(runs, tmp_path_factory):
  """The folder of a run of four processes with a device each, by SGD."""
  workdir = tmp_path_factory.mktemp('four')
  runs.finish_together(workdir, *SGD, count=4)
  return workdir


def assert_close(runs, given_dir, wanted_dir):
  """The same steps and counts; numbers but for the order of sums."""
  given, wanted = runs.arrays(given_dir), runs.arrays(wanted_dir)
  assert given.keys() == wanted.keys()
  for path in wanted:
    if path.startswith('params'):
      np.testing.assert_allclose(
        given[path], wanted[path], rtol=0, atol=1e-5, err_msg=path
      )
  lines = [metrics_file.read(folder) for folder in (given_dir, wanted_dir)]
  for ours, theirs in zip(*lines, strict=True):
    assert ours.pop('split') == theirs.pop('split')
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_two_processes_are_two_devices_of_one(runs, together, tmp_path):
  runs.finish(tmp_path, **devices(2))
  runs.assert_same(runs.outcome(together[0]), runs.outcome(tmp_path))


def test_four_processes_are_one(runs, alone, four):
  assert_close(runs, four, alone)


def test_the_first_process_alone_shows_and_writes_metrics(together):
  workdir, (first, second) = together
  assert 'step 12/12' in first
  assert 'step' not in second
  assert len(list((workdir / 'tensorboard').iterdir())) == 1
  assert len((workdir / timings.FILE).read_text().splitlines()) > 12
  names = {path.name for path in workdir.iterdir()}
  assert not {name for name in names if name.startswith('.seen_by_all')}


def test_each_process_keeps_a_log(together):
  workdir, _ = together
  for number in 0, 1:
    lines = process_log.path(workdir, number).read_text().splitlines()
    stamp = rf'\S+ {re.escape(socket.gethostname())} process {number}: '
    assert all(re.match(stamp, line) for line in lines)
    text = '\n'.join(lines)
    for told in 'jax ', 'mesh data=2', 'saving step 3', 'saved step 12':
      assert told in text
    assert 'step 12/12  accuracy' in text and 'step 12/12  eval' in text
    assert lines[-1].endswith('end: done')


def test_every_example_is_evaluated_exactly_once(together):
  lines = metrics_file.read(together[0])
  counts = [line['num_examples'] for line in lines if line['split'] == 'eval']
  assert counts == [40] * 3


def test_evaluating_together_gives_what_the_run_reported(runs, together):
  processes = runs.start_together(['evaluate', f'--workdir={together[0]}'])
  assert [process.wait() for process in processes] == [0, 0]
  *_, reported = metrics_file.read(together[0])
  told = dict(line.split() for line in str(processes[0]).splitlines()[-3:])
  assert told.keys() == {'accuracy', 'loss', 'num_examples'}
  for name, value in told.items():
    assert float(value) == pytest.approx(reported[name], rel=1e-5)
  assert 'accuracy' not in str(processes[1])


@pytest.mark.chaos
@pytest.mark.parametrize('axis', ['tensor', 'fsdp'])
def test_an_axis_may_be_split_between_processes(runs, tmp_path, axis):
  """With `tensor`, both read the same rows; with `fsdp`, none holds all."""
  size = f'--config.mesh.{axis}=2'
  runs.finish_together(tmp_path / 'two', size)
  runs.finish(tmp_path / 'one', size, **devices(2))
  runs.assert_same(
    runs.outcome(tmp_path / 'two'), runs.outcome(tmp_path / 'one')
  )


@pytest.mark.chaos
def test_rows_of_a_process_need_not_lie_side_by_side(runs, alone, tmp_path):
  faults = ({'interleave': {}},) * 2
  runs.finish_together(tmp_path, *SGD, faults=faults, **devices(2))
  assert_close(runs, tmp_path, alone)


@fault(21, 'two processes, then one, then two', 'every example; same state')
def test_the_number_of_processes_may_change(runs, reference, alone, tmp_path):
  workdir, stop = tmp_path / 'run', {'fail_at_step': {'step': 4}}
  processes = runs.train_together(workdir, *SGD, DOG, faults=(stop, stop))
  assert 0 not in [process.wait() for process in processes]
  paths = [tmp_path / f'indices_{number}' for number in range(3)]
  faults = {**record(paths[0]), 'fail_at_step': {'step': 7}}
  run = runs.train(workdir, *SGD, faults=faults)
  assert run.wait() == 1
  assert 'resumed at step 3' in str(run)
  faults = tuple(map(record, paths[1:]))
  shown, _ = runs.finish_together(workdir, *SGD, faults=faults)
  assert 'resumed at step 6' in shown
  assert_close(runs, workdir, alone)
  one, *parts = map(runs.indices, paths)
  wanted = reference[1]
  assert all(one[step] == wanted[step] for step in (4, 5, 6))
  for step in range(7, 13):
    assert [*parts[0][step], *parts[1][step]] == wanted[step]


@pytest.mark.chaos
@fault(27, 'SIGKILL to one of four processes, resumed by two', 'same bits')
def test_two_processes_finish_the_run_of_four(runs, reference, four, tmp_path):
  """With as many devices, of which each process then has two."""
  workdir = tmp_path / 'run'
  faults = [{}, {}, {'tell': {'point': 'step', 'count': 8, 'then': 'wait'}}, {}]
  processes = runs.train_together(workdir, *SGD, DOG, faults=faults)
  processes[2].wait_for('AT step')
  processes[2].signal(signal.SIGKILL)
  assert 0 not in [process.wait() for process in processes]
  paths = [tmp_path / f'indices_{number}' for number in range(2)]
  faults = tuple(map(record, paths))
  shown, _ = runs.finish_together(workdir, *SGD, faults=faults, **devices(2))
  resumed = int(re.search(r'resumed at step (\d+)', shown)[1])
  assert resumed in (3, 6)  # Step 6 was perhaps not written before the kill.
  runs.assert_same(runs.outcome(workdir), runs.outcome(four))
  parts = list(map(runs.indices, paths))
  for step in range(resumed + 1, 13):
    assert [*parts[0][step], *parts[1][step]] == reference[1][step]


def test_a_batch_that_does_not_divide_is_refused_by_all(runs, tmp_path):
  processes = runs.train_together(tmp_path, '--config.run.batch_size=9')
  assert [process.wait() for process in processes] == [2, 2]
  for process in processes:
    assert 'run.batch_size=9 does not divide over the 2 devices' in str(process)


@fault(31, 'a process never starts', 'the others print where they waited')
def test_a_process_that_never_comes_is_not_waited_for_for_ever(runs, tmp_path):
  argv = ['train', f'--config={runs.recipe}', f'--workdir={tmp_path}']
  meeting = ['--coordinator=localhost:1', '--num_processes=2', '--process_id=1']
  run = runs.start([*argv, *meeting], {'join_seconds': {'seconds': 1}})
  assert run.wait() == 70
  assert 'process 1 of 2 has waited 1 s at localhost:1' in str(run)
