"""A whole run: it learns, resumes exactly, and refuses what can't work."""

import itertools
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from vit_jax import errors, pytrees
from vit_jax.checkpoints import manager, manifest, step_folder
from vit_jax.config import recipes, schema
from vit_jax.data import pipeline, threads
from vit_jax.evaluation import evaluate
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, train
from vit_jax.training.runtime import metrics_file

NUM_STEPS = 6  # An epoch: 100 images in batches of 16.


def tiny_config():
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 32, 'depth': 1, 'num_heads': 2, 'mlp_dim': 64})
  config.model.dropout = 0.1
  config.data.source = 'synthetic'
  config.data.update({'num_classes': 4, 'num_examples': 100})
  config.data.resolution = (8,)
  config.optimizer.learning_rate = 1e-2
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 16
  config.run.num_epochs = 1.0
  config.run.log_every = 1
  config.run.eval_every = 4
  config.run.checkpoint_every = 2
  return config


def final_state(workdir):
  """Returns {path: NumPy array} of all that a run has saved at its end."""
  config = recipes.load(str(workdir / 'config.json'))
  mesh = meshes.build(config.mesh)
  components = assembly.build(config, 4, mesh)
  with manager.CheckpointManager(workdir / 'checkpoints', 1) as saved:
    assert saved.latest_step() == NUM_STEPS
    state, _ = saved.restore(components.state)
  state = state.replace(rng=jax.random.key_data(state.rng))
  return pytrees.flatten(jax.device_get(state))


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('finished')
  return workdir, train.run(tiny_config(), workdir)


def test_a_run_leaves_its_record(finished):
  workdir, report = finished
  assert report['num_examples'] == 100
  lines = metrics_file.read(workdir)
  assert [line['step'] for line in lines if line['split'] == 'train'] == list(
    range(1, NUM_STEPS + 1)
  )
  evaluations = [line for line in lines if line['split'] == 'eval']
  assert [line['step'] for line in evaluations] == [4, NUM_STEPS]
  assert evaluations[-1]['accuracy'] == report['accuracy']
  for name in 'learning_curve.png', 'predictions.png':
    assert (workdir / name).read_bytes().startswith(b'\x89PNG')
  assert list((workdir / 'tensorboard').iterdir())
  assert json.loads((workdir / 'config.json').read_text())['seed'] == 0


def test_a_run_learns(finished):
  assert finished[1]['accuracy'] > 0.5  # Chance is a quarter.


def test_evaluating_a_checkpoint_gives_what_the_run_reported(finished):
  workdir, report = finished
  assert evaluate.run(workdir) == report


@pytest.mark.parametrize('num_batches', [1, 2, 3, 4])
def test_a_resumed_run_equals_an_uninterrupted_one(
  finished, tmp_path, monkeypatch, num_batches
):
  def cut_short(*args, **kwargs):
    yield from itertools.islice(all_batches(*args, **kwargs), num_batches)
    raise InterruptedError

  all_batches = pipeline.train_batches
  with monkeypatch.context() as patch:
    patch.setattr(pipeline, 'train_batches', cut_short)
    with pytest.raises(InterruptedError):
      train.run(tiny_config(), tmp_path)
  train.run(tiny_config(), tmp_path)

  ours, theirs = final_state(tmp_path), final_state(finished[0])
  assert ours.keys() == theirs.keys()
  for path in ours:
    np.testing.assert_array_equal(ours[path], theirs[path], err_msg=path)
  lines = [
    (path / metrics_file.FILE).read_text() for path in (tmp_path, finished[0])
  ]
  assert lines[0] == lines[1]


def test_a_run_of_an_older_version_goes_on(tmp_path, capsys):
  golden = pathlib.Path(__file__).parents[1] / 'golden' / 'run'
  workdir = tmp_path / 'run'
  shutil.copytree(golden, workdir)
  config = recipes.load(str(workdir / recipes.FILE))
  config.mesh.data = 1
  report = train.run(config, workdir)
  told = capsys.readouterr().err
  assert 'resumed at step 3' in told
  assert f'{threads.describe(config.data)}\n' in told
  lines = metrics_file.read(workdir)
  trained = [line for line in lines if line['split'] == 'train']
  assert [line['step'] for line in trained] == list(range(1, 13))
  assert trained[2]['loss'] == 1.3580259084701538  # Of then.
  assert evaluate.run(workdir) == report
  # The configuration is complete from now on.
  assert recipes.load(str(workdir / recipes.FILE)) == config
  assert 'older' not in capsys.readouterr().err


def test_a_resume_reads_and_verifies_its_step_once(finished, monkeypatch):
  seen = []

  def count(module, name):
    original = getattr(module, name)
    monkeypatch.setattr(
      module,
      name,
      lambda *args, **kwargs: seen.append(name) or original(*args, **kwargs),
    )

  count(manifest, 'check')
  count(step_folder, '_read_leaves')
  train.run(tiny_config(), finished[0])
  assert seen == ['check', '_read_leaves']


def test_a_finished_run_is_not_trained_further(finished):
  workdir, report = finished
  before = final_state(workdir), metrics_file.read(workdir)
  assert train.run(tiny_config(), workdir) == report
  after = final_state(workdir), metrics_file.read(workdir)
  np.testing.assert_equal(after, before)


def test_the_saved_config_runs_again(finished, tmp_path):
  config = recipes.load(str(finished[0] / 'config.json'))
  assert train.run(config, tmp_path) == finished[1]


def test_one_device_and_eight_agree(finished, tmp_path):
  config = tiny_config()
  config.mesh.data = 1
  report = train.run(config, tmp_path)
  assert report['loss'] == pytest.approx(finished[1]['loss'], rel=1e-4)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('run.batch_size', 20, r'run\.batch_size=20 does not divide over the 8'),
    ('mesh.data', 16, r'needs 16 devices and there are 8'),
    ('data.resolution', (10,), r'data\.resolution=10 is not a multiple'),
    ('optimizer.warmup_steps', 7, r'warmup_steps=7 is longer than .* 6 steps'),
    ('model.name', 'ViT-X/4', r"'X' is unknown"),
    ('optimizer.decay_rules', (('head/.*', 1.0),), r'must cover every param'),
  ],
)
def test_what_can_not_work_is_refused_before_anything(
  tmp_path, field, value, message
):
  config = tiny_config()
  group, name = field.split('.')
  config[group][name] = value
  with pytest.raises(errors.UserError, match=message):
    train.run(config, tmp_path / 'run')
  assert not (tmp_path / 'run/config.json').exists()


@pytest.mark.parametrize('scheme', ['hdfs', 'https', 'gcs'])
def test_a_workdir_of_an_unknown_scheme_is_refused(
  tmp_path, monkeypatch, scheme
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match=f'{scheme}:// is not supported'):
    train.run(tiny_config(), f'{scheme}://bucket/run')
  assert not list(tmp_path.iterdir())


def test_another_run_in_the_folder_is_refused_with_the_difference(finished):
  config = tiny_config()
  config.optimizer.learning_rate = 0.5
  with pytest.raises(errors.UserError, match=r'learning_rate.*0\.01.*0\.5'):
    train.run(config, finished[0])


def test_evaluating_an_empty_folder_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match='holds no run'):
    evaluate.run(tmp_path)
