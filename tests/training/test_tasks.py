"""The runs of a sweep as tasks: numbers, states, and who makes which."""

import json
import textwrap
import threading

import pytest

from vit_jax import errors
from vit_jax.cli import main
from vit_jax.config import recipes
from vit_jax.evaluation import records
from vit_jax.training import sweep, tasks, train, trials
from vit_jax.training.runtime import lock

RECIPE = """
  from vit_jax.config import schema


  def get_grid():
    return {'optimizer.learning_rate': (0.1, 0.3, 0.2)}


  def get_config():
    config = schema.default()
    config.data.update(source='synthetic', num_classes=4, num_examples=64)
    config.data.eval_split = 'test'
    config.optimizer.warmup_steps = 0
    config.run.update(batch_size=16, num_steps=2)
    config.mesh.data = 1
    return config
"""
FIELD = 'optimizer.learning_rate'


@pytest.fixture
def recipe(tmp_path):
  path = tmp_path / 'recipe.py'
  path.write_text(textwrap.dedent(RECIPE))
  return str(path)


@pytest.fixture
def runs(monkeypatch):
  """Takes the place of training; lists the folders of what was run."""
  made = []

  def run(config, workdir):
    assert lock.is_held(workdir / trials.CLAIM)
    recipes.save(config, workdir)
    made.append(workdir)
    return {'accuracy': config.optimizer.learning_rate + config.seed / 100}

  monkeypatch.setattr(train, 'run', run)
  return made


@pytest.fixture
def work(recipe, tmp_path, capsys):
  """Returns work(...), which runs `vit_jax sweep` and gives status, output."""

  def work(*flags):
    argv = ['sweep', recipe, str(tmp_path / 'runs'), '--seeds=2', *flags]
    status = main.main(argv)
    return status, capsys.readouterr().out

  return work


def listed(work):
  status, text = work('--list', '--json')
  assert status == 0
  return list(map(json.loads, text.splitlines()))


def states(work):
  return [task['state'] for task in listed(work)]


def test_numbers_mean_the_same_runs_whatever_is_done(work, runs):
  before = listed(work)
  assert [task['number'] for task in before] == list(range(5))
  assert [task['stage'] for task in before] == ['choosing'] * 3 + ['final'] * 2
  assert [task['settings'] for task in before] == [
    *({FIELD: rate} for rate in (0.1, 0.3, 0.2)),
    *({'seed': seed} for seed in (0, 1)),
  ]
  assert {task['state'] for task in before[:3]} == {tasks.MISSING}
  assert {task['state'] for task in before[3:]} == {tasks.WAITING}
  assert [task['folder'] for task in before[3:]] == [None, None]
  assert work('--task=1')[0] == 0
  assert work('--task=choosing:2')[0] == 0
  assert states(work) == ['missing', 'done', 'done', 'waiting', 'waiting']
  assert work('--task=0')[0] == 0
  after = listed(work)
  assert [task['folder'] for task in after[:3]] == [
    task['folder'] for task in before[:3]
  ]
  assert [task['settings'] for task in after[3:]] == [
    {FIELD: 0.3, 'seed': seed} for seed in (0, 1)
  ]
  assert states(work) == ['done'] * 3 + ['missing'] * 2
  assert work('--task=4')[0] == 0
  assert [str(folder) for folder in runs] == [
    after[number]['folder'] for number in (1, 2, 0, 4)
  ]
  assert work('--task=final:0')[0] == 0
  status, text = work()
  assert status == 0 and len(runs) == 5
  assert '| 30.50 ± 0.71 |' in text


def test_what_is_done_is_not_made_again(work, runs):
  work('--task=1')
  status, text = work('--task=1')
  assert (status, text) == (0, 'task 1 (choosing): done\n')
  assert len(runs) == 1


def test_a_final_run_waits_for_the_trials(work, runs):
  work('--task=0')
  status, text = work('--task=3')
  assert status == 1 and 'are not done' in text
  assert len(runs) == 1


def test_a_run_that_another_process_holds_is_skipped(
  work, runs, tmp_path, monkeypatch
):
  folder = tmp_path / 'runs/choosing' / f'{FIELD}=0.3'
  with trials.claimed(folder):
    assert states(work)[1] == tasks.BUSY
    status, text = work('--task=1')
    assert status == 0 and 'another process is at it' in text and not runs
    # Also where it came between a look and the claim.
    monkeypatch.setattr(trials, 'is_held', lambda folder: False)
    assert 'another process is at it' in work('--task=1')[1] and not runs
  assert 'done' in work('--task=1')[1]


@pytest.mark.parametrize('is_train', [False, True])
def test_a_sweep_comes_back_to_what_was_held(
  work, runs, tmp_path, monkeypatch, wait_until, is_train
):
  """Whether `vit_jax sweep` holds it, or `vit_jax train`."""
  monkeypatch.setattr(sweep, 'POLL_SECONDS', 0.01)
  folder = tmp_path / 'runs/choosing' / f'{FIELD}=0.1'
  folder.mkdir(parents=True)
  held = lock.hold(folder) if is_train else trials.claimed(folder)
  ended = threading.Event()

  def end_it():
    wait_until(lambda: len(runs) == 2)
    held.__exit__()
    ended.set()

  held.__enter__()
  thread = threading.Thread(target=end_it)
  thread.start()
  status, _ = work()
  thread.join()
  assert status == 0 and ended.is_set()
  assert [path.name for path in runs[:3]] == [
    f'{FIELD}={rate}' for rate in (0.3, 0.2, 0.1)
  ]
  assert len(runs) == 5


def test_a_run_that_was_begun_is_told_from_one_that_was_not(work, tmp_path):
  folder = tmp_path / 'runs/choosing' / f'{FIELD}=0.3'
  folder.mkdir(parents=True)
  (folder / recipes.FILE).write_text('{}')
  assert states(work)[:3] == ['missing', 'unfinished', 'missing']


def test_a_trial_that_has_diverged_is_done(work, runs, tmp_path, monkeypatch):
  def diverge(config, workdir):
    raise errors.DivergedError('not finite')

  with monkeypatch.context() as patch:
    patch.setattr(train, 'run', diverge)
    work('--task=1')
  assert states(work)[1] == tasks.DONE
  work('--task=0')
  work('--task=2')
  assert listed(work)[3]['settings'] == {FIELD: 0.2, 'seed': 0}


@pytest.mark.parametrize(
  'name, message',
  [
    ('5', 'there are 5 tasks, 0 to 4'),
    ('final:2', 'there are 2 final tasks, 0 to 1'),
    ('last', 'does not fit'),
    ('-1', 'does not fit'),
    ('finals:0', 'does not fit'),
  ],
)
def test_a_task_that_is_none_is_refused(recipe, tmp_path, name, message):
  with pytest.raises(errors.UserError, match=message):
    sweep.run_task(name, recipe, (), tmp_path, num_seeds=2)


def test_the_list_has_columns(work, runs):
  work('--task=1')
  lines = work('--list')[1].splitlines()
  assert lines[0].split()[:3] == ['number', 'stage', 'state']
  assert [line.split()[:3] for line in lines[1:]] == [
    ['0', 'choosing', 'missing'],
    ['1', 'choosing', 'done'],
    ['2', 'choosing', 'missing'],
    ['3', 'final', 'waiting'],
    ['4', 'final', 'waiting'],
  ]
  assert f'{FIELD}=0.3' in lines[2]


def test_a_result_is_recorded_once(work, runs, tmp_path):
  work()
  work()
  for path in (tmp_path / 'runs').rglob(records.FILE):
    assert len(records.read(path)) == 1
