"""A sweep chooses on held-out examples, and makes no run twice."""

import json
import math
import textwrap

import jax
import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.cli import main
from vit_jax.config import recipes, schema
from vit_jax.data import sources
from vit_jax.data.datasets import suites
from vit_jax.evaluation import records
from vit_jax.training import sweep, train, trials
from vit_jax.training.runtime import agreement, preemption

RECIPE = """
  from vit_jax.config import schema


  def get_grid(dataset=''):
    return {'optimizer.learning_rate': (1e-5, 2e-2)}


  def get_config(dataset='', num_steps=20):
    config = schema.default()
    config.model.update(
      name='ViT-Ti/4', width=16, depth=1, num_heads=2, mlp_dim=16
    )
    config.data.update(
      source='synthetic',
      dataset=dataset,
      num_classes=4,
      num_examples=64,
      resolution=(8,),
      eval_split='test',
    )
    config.optimizer.warmup_steps = 0
    config.run.update(batch_size=16, num_steps=num_steps)
    config.mesh.data = 1
    return config
"""


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
  path = tmp_path_factory.mktemp('recipe') / 'recipe.py'
  path.write_text(textwrap.dedent(RECIPE))
  return str(path)


@pytest.fixture
def runs(monkeypatch):
  """Takes the place of training: accuracy(config); lists what was run."""

  class Runs(list):
    accuracy = staticmethod(lambda config: config.optimizer.learning_rate)

  made = Runs()

  def run(config, workdir):
    workdir.mkdir(parents=True, exist_ok=True)
    made.append((workdir, config))
    return {'accuracy': made.accuracy(config), 'loss': 0.0}

  monkeypatch.setattr(train, 'run', run)
  return made


@pytest.fixture(scope='module')
def finished(recipe, tmp_path_factory):
  """A real sweep: its folder, what it printed, what was left after each run."""
  workdir = tmp_path_factory.mktemp('sweep')
  left, run = [], train.run

  def run_and_count(config, folder):
    report = run(config, folder)
    client = jax.devices()[0].client
    left.append((len(jax.live_arrays()), len(client.live_executables())))
    return report

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train, 'run', run_and_count)
    table = sweep.run(recipe, (), workdir, num_seeds=2)
  return workdir, table, left


def test_the_better_rate_is_chosen_and_trained_with_from_each_seed(finished):
  workdir, (row,), _ = finished
  assert row['chosen'] == {'optimizer.learning_rate': 2e-2}
  tried = sorted(path.name for path in (workdir / 'choosing').iterdir())
  assert tried == [f'optimizer.learning_rate={rate}' for rate in (0.02, 1e-05)]
  config = recipes.load(str(workdir / 'choosing' / tried[0] / recipes.FILE))
  assert (config.data.train_split, config.data.eval_split) == (
    'train[:90%]',
    'train[90%:]',
  )
  finals = list((workdir / 'final' / tried[0]).iterdir())
  assert sorted(path.name for path in finals) == ['seed=0', 'seed=1']
  for path in finals:
    config = recipes.load(str(path / recipes.FILE))
    assert (config.data.train_split, config.data.eval_split) == (
      'train',
      'test',
    )
    assert config.seed == int(path.name[-1])


def test_the_numbers_are_those_of_the_final_runs(finished):
  workdir, (row,), _ = finished
  values = []
  for seed in 0, 1:
    path = workdir / f'final/optimizer.learning_rate=0.02/seed={seed}'
    lines = (path / 'metrics.jsonl').read_text().splitlines()
    values.append(json.loads(lines[-1])['accuracy'])
  assert row['seeds'] == values
  assert row['accuracy'] == pytest.approx(np.mean(values))
  assert row['accuracy_std'] == pytest.approx(np.std(values, ddof=1))
  assert json.loads((workdir / sweep.FILE).read_text()) == [row]


def test_no_run_is_made_twice(finished, recipe, runs):
  workdir, table, _ = finished
  assert sweep.run(recipe, (), workdir, num_seeds=2) == table
  assert not runs
  sweep.run(recipe, (), workdir, num_seeds=3)
  assert [path.name for path, _ in runs] == ['seed=2']


def test_runs_leave_nothing_in_memory(finished):
  _, _, left = finished
  arrays, executables = zip(*left)
  assert len(left) == 4
  assert set(arrays) == {arrays[0]}
  # The last three compile the same as those before them, and nothing stays.
  assert executables[-1] <= executables[1]


def test_a_run_is_made_again_where_its_configuration_is_another(
  recipe, runs, tmp_path
):
  sweep.run(recipe, (), tmp_path)
  assert len(runs) == 3
  runs.clear()
  sweep.run(recipe, ['--config.run.log_every=7'], tmp_path)  # No other run.
  assert not runs
  sweep.run(recipe, ['--config.seed=5'], tmp_path)
  assert len(runs) == 3


def test_what_is_given_takes_the_place_of_the_recipe_s_grid(
  recipe, runs, tmp_path
):
  (row,) = sweep.run(
    recipe,
    (),
    tmp_path,
    sweep=['optimizer.learning_rate=0.1,0.3,0.2', 'data.mixup=0,0.5'],
    held_out=25,
  )
  assert len(runs) == 6 + 1
  assert row['chosen'] == {'optimizer.learning_rate': 0.3, 'data.mixup': 0.0}
  assert runs[0][1].data.eval_split == 'train[75%:]'
  assert runs[-1][1].data.mixup == 0.0
  assert 'accuracy_std' not in row


def test_steps_are_chosen_with_their_warm_up(recipe, runs, tmp_path):
  runs.accuracy = lambda config: config.optimizer.warmup_steps
  both = 'run.num_steps:optimizer.warmup_steps'
  grid = ['optimizer.learning_rate=0.1,0.3', f'{both}=9:1,40:7']
  (row,) = sweep.run(recipe, (), tmp_path, grid)
  assert len(runs) == 4 + 1
  assert row['chosen'] == {
    'optimizer.learning_rate': 0.1,
    'run.num_steps': 40,
    'optimizer.warmup_steps': 7,
  }
  folder, config = runs[-1]
  assert (config.run.num_steps, config.optimizer.warmup_steps) == (40, 7)
  assert folder.parent.name == (
    'optimizer.learning_rate=0.1,run.num_steps=40,optimizer.warmup_steps=7'
  )


def test_one_value_needs_no_choosing(recipe, runs, tmp_path):
  sweep.run(recipe, (), tmp_path, sweep=['data.mixup=0.5'], num_seeds=2)
  assert [config.seed for _, config in runs] == [0, 1]
  assert {config.data.train_split for _, config in runs} == {'train'}


def test_a_value_that_diverges_is_not_chosen(recipe, runs, tmp_path):
  def accuracy(config):
    if config.optimizer.learning_rate == 2e-2:
      raise errors.DivergedError('not finite')
    return 0.5

  runs.accuracy = accuracy
  (row,) = sweep.run(recipe, (), tmp_path)
  assert row['chosen'] == {'optimizer.learning_rate': 1e-5}
  lines = records.read(
    tmp_path / 'choosing/optimizer.learning_rate=0.02' / records.FILE
  )
  assert math.isnan(lines[-1]['values']['accuracy'])
  before = len(runs)
  sweep.run(recipe, (), tmp_path)
  assert len(runs) == before  # Not even the one that diverged.


def test_values_that_all_diverge_are_told(recipe, runs, tmp_path):
  def accuracy(config):
    raise errors.DivergedError('not finite')

  runs.accuracy = accuracy
  with pytest.raises(errors.DivergedError, match=r'Every run in .*choosing'):
    sweep.run(recipe, (), tmp_path)


def test_being_told_to_stop_ends_it_with_75_and_it_goes_on(
  recipe, runs, tmp_path, monkeypatch, capsys
):
  def accuracy(config):
    if len(runs) == 2:
      raise preemption.Preempted('Stopped after step 3.')
    return 0.5

  def leave(status):
    raise SystemExit(status)

  runs.accuracy = accuracy
  monkeypatch.setattr(agreement, 'leave', leave)
  argv = ['sweep', f'--config={recipe}', f'--workdir={tmp_path}']
  with pytest.raises(SystemExit, match='75'):
    main.main(argv)
  assert 'was stopped and is saved' in capsys.readouterr().err
  runs.accuracy = lambda config: 0.5
  assert main.main(argv) == 0
  assert len(runs) == 2 + 2  # The second again, and the final one.
  assert runs[2][0] == runs[1][0] != runs[0][0]
  assert '| 50.00 |' in capsys.readouterr().out


@pytest.fixture
def all_data_sets(monkeypatch):
  monkeypatch.setattr(sweep.sources, 'build', lambda data, split: range(100))
  monkeypatch.setattr(sweep.registry, 'fetch_real_labels', lambda: None)


@pytest.mark.parametrize('suite', ['vtab', 'vtab_full'])
def test_a_suite_has_a_row_for_each_data_set_and_its_means(
  recipe, runs, tmp_path, all_data_sets, suite
):
  names = suites.datasets(suites.SUITES[suite])

  def accuracy(config):
    return names.index(config.data.dataset) + config.seed / 10

  runs.accuracy = accuracy
  table = sweep.run(
    recipe,
    (),
    tmp_path,
    sweep=['optimizer.learning_rate=0.01'],
    num_seeds=3,
    suite=suite,
  )
  assert len(runs) == 19 * 3
  rows = {row['name']: row for row in table}
  assert rows['cifar100']['accuracy'] == pytest.approx(1.1)
  assert rows['natural (mean)']['accuracy'] == pytest.approx(3.1)
  assert rows['VTAB (19 tasks)']['accuracy'] == pytest.approx(9.1)
  assert rows['VTAB (19 tasks)']['accuracy_std'] == pytest.approx(0.1)
  assert rows['VTAB (19 tasks)']['chosen'] == {}
  assert '| 910.00 ± 10.00 |' in sweep.text(table)


def test_the_seven_numbers_of_transfer_have_reassessed_labels(
  recipe, runs, tmp_path, all_data_sets, monkeypatch
):
  asked = []

  def evaluate(workdir, evaluators):
    asked.append((workdir, evaluators))
    return {'real_accuracy': 0.875}

  monkeypatch.setattr(trials.evaluate, 'run', evaluate)
  grid = ['optimizer.learning_rate=0.01']
  for _ in range(2):
    table = sweep.run(recipe, (), tmp_path, grid, suite='transfer')
  accuracies = [row['accuracy'] for row in table]
  assert accuracies == pytest.approx([0.01, 0.875] + [0.01] * 5)
  folder = tmp_path / 'imagenet2012/final/optimizer.learning_rate=0.01/seed=0'
  assert asked == [(folder, ('real',))]


def test_missing_reassessed_labels_are_told_before_the_first_run(
  recipe, runs, tmp_path, all_data_sets, monkeypatch
):
  def fetch():
    raise errors.UserError('not here')

  monkeypatch.setattr(sweep.registry, 'fetch_real_labels', fetch)
  with pytest.raises(errors.UserError, match='not here'):
    sweep.run(recipe, (), tmp_path, suite='transfer')
  assert not runs


@pytest.mark.parametrize(
  'options, message',
  [
    ({'suite': 'vtb'}, r"suite='vtb' is unknown.* mean vtab"),
    ({'sweep': ['run.batch_size=16,-1']}, r'run\.batch_size=-1 does not fit'),
    ({'sweep': ['optimizer.warmup_steps=0,99']}, r'warmup_steps=99 is longer'),
    ({'sweep': ['data.source=synthetic,folder']}, r'splits or classes'),
    ({'sweep': ['init=/gone/a.npz,/gone/b.npz']}, r'/gone/a\.npz is no file'),
    (
      {'overrides': ['--config.data.train_split=train[:9]']},
      r'is a slice already',
    ),
  ],
)
def test_mistakes_are_told_before_the_first_run(
  recipe, runs, tmp_path, options, message
):
  overrides = options.pop('overrides', ())
  with pytest.raises(errors.UserError, match=message):
    sweep.run(recipe, overrides, tmp_path, **options)
  assert not runs


def test_a_recipe_without_grid_needs_a_sweep_or_seeds(runs, tmp_path):
  path = tmp_path / 'plain.py'
  path.write_text(textwrap.dedent(RECIPE.replace('get_grid', 'other')))
  with pytest.raises(errors.UserError, match=r'nothing to sweep.*--seeds=3'):
    sweep.run(str(path), (), tmp_path / 'runs')
  (row,) = sweep.run(str(path), (), tmp_path / 'runs', num_seeds=2)
  assert row['seeds'] == [1e-3, 1e-3] and row['chosen'] == {}


def test_a_grid_that_is_none_is_told(tmp_path):
  path = tmp_path / 'plain.py'
  for wrong in '[1]', '{}.fromkeys("a")', '{"seed": ()}':
    text = RECIPE.replace("{'optimizer.learning_rate': (1e-5, 2e-2)}", wrong)
    path.write_text(textwrap.dedent(text))
    with pytest.raises(errors.UserError, match=r'get_grid of .* return'):
      recipes.grid(str(path))


def test_digests_tell_runs_apart_and_not_how_they_are_run():
  one, two, three = (schema.default() for _ in range(3))
  two.run.log_every += 1
  three.seed += 1
  assert recipes.digest(one) == recipes.digest(two) != recipes.digest(three)
  assert len(recipes.digest(one)) == 16


def test_trials_do_not_see_what_is_held_out_for_the_final_run(tmp_path):
  for name in 'ab':
    (tmp_path / 'set' / name).mkdir(parents=True)
    for number in range(20):
      Image.new('RGB', (8, 8)).save(tmp_path / 'set' / name / f'{number}.png')
  spec = recipes.from_folder(
    f'finetune/folder.py:data={tmp_path / "set"},init=none'
  )
  plan = sweep._plan(spec, (), tmp_path, (), 1, 20, set())
  (_, trial), *_ = plan.trials()
  (_, final), *_ = plan.finals(plan.settings[0])
  seen, chosen_on, measured_on = (
    set(sources.build(data, split).names)
    for data, split in (
      (trial.data, trial.data.train_split),
      (trial.data, trial.data.eval_split),
      (final.data, final.data.eval_split),
    )
  )
  assert seen and chosen_on and measured_on
  assert seen.isdisjoint(chosen_on)
  assert measured_on.isdisjoint(seen | chosen_on)


def test_an_override_that_the_grid_undoes_is_refused(recipe, runs, tmp_path):
  rate = ['--config.optimizer.learning_rate=0.5']
  with pytest.raises(errors.UserError, match='has no effect'):
    sweep.run(recipe, rate, tmp_path)
  sweep.run(recipe, rate, tmp_path, ['seed=1,2'])
  assert {config.optimizer.learning_rate for _, config in runs} == {0.5}


@pytest.mark.parametrize(
  'overrides, sweep_of, wanted',
  [
    (['--config.data.source=synthetic'], 'seed=1,2', 'synthetic'),
    ([], 'data.dataset=one,two/b', 'two/b'),
    (['--config.data.dataset=mine.npz'], 'seed=1,2', '/mine.npz'),
  ],
)
def test_the_table_names_the_data_set(
  recipe, runs, tmp_path, monkeypatch, overrides, sweep_of, wanted
):
  runs.accuracy = lambda config: float(config.data.dataset.endswith('b'))
  if wanted != 'synthetic':
    # Named like files, and read like noise.
    monkeypatch.setitem(sources.SOURCES, 'arrays', sources.SOURCES['synthetic'])
    overrides = [*overrides, '--config.data.source=arrays']
  table = sweep.run(recipe, overrides, tmp_path, [sweep_of])
  assert table[0]['name'].endswith(wanted)
  assert json.loads((tmp_path / sweep.FILE).read_text()) == table
  row = sweep.text(table).splitlines()[-1]
  assert row.startswith(f'| {table[0]["name"]} | {sweep_of.partition("=")[0]}=')
