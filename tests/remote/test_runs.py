"""Runs whose folder is in a store: killed, resumed, refused, in trouble."""

import json
import random
import signal
import time

import pytest

from tests.remote import stores
from tests.remote.conftest import TWO_DEVICES
from vit_jax import files
from vit_jax.files import folders

slow = pytest.mark.remote
NUM_KILLED = 50  # Runs of `make remote` that are killed, over both stores.


def mostly(kind):
  """Has a test use one store, and in `make remote` the others, too."""
  others = [
    pytest.param(other, marks=slow) for other in stores.KINDS if other != kind
  ]
  return pytest.mark.parametrize('store', [kind, *others], indirect=True)


def start(runs, workdir, count=1, **options):
  """Starts a run of one process or of two; returns the processes."""
  if count > 1:
    return runs.train_together(workdir, **options)
  return [runs.train(workdir, settings=TWO_DEVICES, **options)]


def finish_same(runs, reference, workdir):
  """Resumes a run to its end; it must be the reference, bit for bit."""
  shown = runs.finish(workdir, settings=TWO_DEVICES)
  ours = runs.outcome(workdir)
  runs.assert_same(ours, reference)
  return shown


@mostly('s3')
def test_a_run_leaves_what_one_on_a_disk_does(runs, reference, folder):
  finish_same(runs, reference, folder)
  names = {path.relative_to(folder) for path in folders.walk(folder)}
  assert names >= {
    *('config.json', 'card.json', 'metrics.jsonl', 'timings.jsonl'),
    *('examples.npz', 'logs/process_0.log'),
  }
  assert any(name.startswith('tensorboard/events') for name in names)


@mostly('gs')
def test_two_processes_are_killed_and_one_finishes(runs, reference, folder):
  processes = start(runs, folder, count=2)
  processes[0].wait_for('step 7/')
  processes[1].signal(signal.SIGKILL)
  assert all(run.wait() for run in processes)
  if (folder / 'metrics.jsonl').exists():
    lines = files.read_lines(folder / 'metrics.jsonl')
    steps = [json.loads(line)['step'] for line in lines]
    assert steps == sorted(steps)
  shown = finish_same(runs, reference, folder)
  assert 'recovered the lock of process' in shown


@slow
@pytest.mark.parametrize('counts', [(2, 1), (1, 2)])
def test_a_signal_saves_for_another_number_of_processes(
  runs, reference, folder, counts
):
  processes = start(runs, folder, counts[0])
  processes[0].wait_for('step 5/')
  for run in processes:
    run.signal(signal.SIGTERM)
  assert {run.wait() for run in processes} == {75}
  assert 'which is saved' in str(processes[0])
  processes = start(runs, folder, counts[1])
  assert {run.wait() for run in processes} == {0}
  runs.assert_same(runs.outcome(folder), reference)


@mostly('s3')
def test_two_runs_do_not_share_a_folder(runs, reference, folder):
  held = {'tell': {'point': 'step', 'count': 5, 'then': 'wait'}}
  first = runs.train(folder, settings=TWO_DEVICES, faults=held)
  first.wait_for('AT step')
  second = runs.train(folder)
  assert second.wait() == 2, str(second)
  assert f'{folder} is in use by process {first.pid}' in str(second)
  assert 'Traceback' not in str(second)
  first.signal(signal.SIGTERM)
  assert first.wait() == 75, str(first)
  finish_same(runs, reference, folder)


@mostly('gs')
@pytest.mark.parametrize(
  'faults',
  [
    {'failing': 0.1, 'status': 503},
    pytest.param({'failing': 0.1, 'status': 429}, marks=slow),
    pytest.param({'lost': 0.1}, marks=slow),
    pytest.param({'seconds': 0.1}, marks=slow),
  ],
  ids=['503', '429', 'lost', 'slow'],
)
def test_a_store_in_trouble_changes_no_bit(
  runs, reference, folder, store, faults
):
  with store.failing(**faults):
    runs.finish(folder, settings=TWO_DEVICES)
  runs.assert_same(runs.outcome(folder), reference)


def test_what_may_not_be_written_is_told_in_a_line(runs, folder, store):
  with store.failing(failing=1.0, status=403, methods=['PUT', 'POST']):
    run = runs.train(folder)
    assert run.wait() == 2, str(run)
  *_, said = str(run).strip().splitlines()
  assert f'--workdir={folder} cannot be written' in said
  assert 'Traceback' not in str(run)


@mostly('s3')
def test_a_full_quota_ends_a_run_that_resumes(runs, reference, folder, store):
  held = {'tell': {'point': 'step', 'count': 5, 'then': 'wait'}}
  run = runs.train(folder, settings=TWO_DEVICES, faults=held)
  run.wait_for('AT step')
  with store.failing(max_bytes=0):
    run.signal(signal.SIGTERM)
    assert run.wait() == 2, str(run)
  assert 'older checkpoints are untouched' in str(run)
  assert 'attempt 3' in str(run)
  finish_same(runs, reference, folder)


@slow
@pytest.mark.parametrize('seed', range(NUM_KILLED // 2))
def test_random_kills_change_no_bit(runs, reference, folder, seed):
  draw = random.Random(seed)
  while True:
    processes = start(runs, folder, draw.choice((1, 2)))
    time.sleep(draw.uniform(0, 10))
    for run in processes:
      if runs.ask({'poll': run.pid}) is None:
        run.signal(signal.SIGKILL)
        run.wait()
    if draw.random() < 0.7:  # Else the resumed run is killed, too.
      break
  finish_same(runs, reference, folder)


SWEEP = """
from vit_jax.config import schema


def get_grid():
  return {'optimizer.learning_rate': (1e-5, 2e-2)}


def get_config():
  config = schema.default()
  config.model.update(
    name='ViT-Ti/4', width=16, depth=1, num_heads=2, mlp_dim=16
  )
  config.data.update(source='synthetic', num_classes=4, num_examples=64)
  config.data.update(resolution=(8,), eval_split='test')
  config.optimizer.warmup_steps = 0
  config.run.update(batch_size=16, num_steps=4)
  return config
"""


@slow
def test_a_sweep_ends_as_on_a_disk(runs, folder, tmp_path):
  """Killed in between: what was run is not run again."""
  recipe = tmp_path / 'sweep.py'
  recipe.write_text(SWEEP)
  tables = []
  for workdir in tmp_path / 'disk', folder:
    argv = ['sweep', f'--config={recipe}', f'--workdir={workdir}']
    if workdir == folder:
      run = runs.start(argv)
      run.wait_for('step 4/4')
      run.signal(signal.SIGKILL)
      run.wait()
    run = runs.start(argv)
    assert run.wait() == 0, str(run)
    tables.append(files.read_json(workdir / 'sweep.json'))
  assert tables[0] == tables[1]
