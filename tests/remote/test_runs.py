"""Runs whose folder is in a store: killed, resumed, refused, in trouble."""

import json
import random
import signal
import time

import pytest

from vit_jax import files
from vit_jax.training.runtime import metrics_file

remote = pytest.mark.remote
NUM_KILLS = 50  # Of `make remote`, over both stores.


def survive(runs, workdir, draw, seconds, most=3):
  """Kills a run at random instants, by turns of one process and of two.

  Returns the number of kills that met a living process.
  """
  num_kills = 0
  for _ in range(most):
    count = draw.choice((1, 1, 2))
    processes = (
      [runs.train(workdir)] if count == 1 else runs.train_together(workdir)
    )
    time.sleep(draw.uniform(0, seconds))
    living = [run for run in processes if runs.ask({'poll': run.pid}) is None]
    for run in living:
      run.signal(signal.SIGKILL)
    num_kills += len(living)
    for run in living:
      run.wait()
    if draw.random() < 0.5:
      break
  return num_kills


def test_a_run_ends_in_the_bits_of_one_on_a_disk(runs, reference, folder):
  shown = runs.finish(folder)
  runs.assert_same(runs.outcome(folder), reference)
  names = {path.relative_to(folder) for path in files.walk(folder)}
  assert {'config.json', 'card.json', 'learning_curve.png'} <= names
  assert {'timings.jsonl', 'logs/process_0.log'} <= names
  log = (folder / 'logs/process_0.log').read_text()
  assert log.rstrip().endswith('end: done')
  assert any(name.startswith('tensorboard/events') for name in names)
  assert 'resumed' not in shown


def test_a_killed_run_resumes_to_the_same_bits(runs, reference, folder):
  run = runs.train(folder)
  run.wait_for('step 7/')
  run.signal(signal.SIGKILL)
  assert run.wait() == -signal.SIGKILL
  lines = (
    metrics_file.read(folder) if (folder / 'metrics.jsonl').exists() else []
  )
  assert [line['step'] for line in lines] == sorted(l['step'] for l in lines)
  shown = runs.finish(folder)
  assert 'recovered the lock of process' in shown and 'resumed' in shown
  runs.assert_same(runs.outcome(folder), reference)


def test_another_number_of_processes_resumes(runs, reference, folder):
  processes = runs.train_together(folder)
  processes[0].wait_for('step 5/')
  for run in processes:
    run.signal(signal.SIGTERM)
  assert [run.wait() for run in processes] == [75, 75]
  runs.finish(folder)
  runs.assert_same(runs.outcome(folder)['metrics'], reference['metrics'])


def test_two_runs_do_not_share_a_folder(runs, reference, folder):
  first = runs.train(folder, faults={'slow_data': {'seconds': 1.0}})
  first.wait_for('step 1/')
  second = runs.train(folder)
  assert second.wait() == 2, str(second)
  assert f'{folder} is in use by process {first.pid}' in str(second)
  assert 'Traceback' not in str(second)
  assert first.wait() == 0, str(first)
  runs.assert_same(runs.outcome(folder), reference)


@pytest.mark.parametrize(
  'faults',
  [
    {'failing': 0.1, 'status': 503},
    pytest.param({'failing': 0.1, 'status': 429}, marks=remote),
    pytest.param({'lost': 0.1}, marks=remote),
    pytest.param({'seconds': 0.1}, marks=remote),
  ],
  ids=['503', '429', 'lost', 'slow'],
)
def test_a_store_in_trouble_changes_no_bit(
  runs, reference, folder, store, faults
):
  with store.failing(**faults):
    runs.finish(folder)
  runs.assert_same(runs.outcome(folder), reference)


def test_what_may_not_be_written_is_told_in_a_line(runs, folder, store):
  with store.failing(failing=1.0, status=403, methods=['PUT', 'POST']):
    run = runs.train(folder)
    assert run.wait() == 2, str(run)
  *_, said = str(run).strip().splitlines()
  assert f'--workdir={folder} cannot be written' in said
  assert 'Traceback' not in str(run)


def test_a_full_quota_ends_a_run_that_resumes(runs, reference, folder, store):
  run = runs.train(folder, faults={'slow_data': {'seconds': 0.3}})
  run.wait_for('step 4/')
  with store.failing(max_bytes=0):
    assert run.wait() == 2, str(run)
  said = str(run)
  assert 'failed' in said and 'older checkpoints are untouched' in said
  assert 'attempt 3' in said and 'Traceback' not in said
  runs.finish(folder)
  runs.assert_same(runs.outcome(folder), reference)


@remote
@pytest.mark.parametrize('seed', range(NUM_KILLS // 2))
def test_random_kills_change_no_bit(runs, reference, folder, seed):
  draw = random.Random(seed)
  survive(runs, folder, draw, seconds=8.0)
  runs.finish(folder)
  ours, theirs = runs.outcome(folder), reference
  steps = [json.loads(line)['step'] for line in ours['metrics'].splitlines()]
  assert steps == sorted(steps)
  runs.assert_same(ours, theirs)
