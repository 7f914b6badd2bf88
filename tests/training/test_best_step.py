"""The best step is kept beside the newest, and patience ends a training."""

import itertools
import json
import math

import jax
import numpy as np
import pytest

from vit_jax import errors, pytrees
from vit_jax.checkpoints import best, parameters, verify
from vit_jax.config import recipes, schema
from vit_jax.data import pipeline
from vit_jax.evaluation import evaluate, metrics, records
from vit_jax.training import best_step, train
from vit_jax.training import session as sessions
from vit_jax.training.runtime import metrics_file
from vit_jax.weights import loading

pytestmark = pytest.mark.usefixtures('undrawn')

# Accuracy that the evaluation after a step is made to report.
PEAK = {2: 0.3, 4: 0.6, 6: 0.5, 8: 0.6, 10: 0.1}
RISE = {2: 0.3, 4: 0.4, 6: 0.5, 8: 0.6, 10: 0.7}


@pytest.fixture
def config():
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 16, 'depth': 1, 'num_heads': 1, 'mlp_dim': 16})
  config.data.source = 'synthetic'
  config.data.update({'num_classes': 4, 'num_examples': 16})
  config.data.resolution = (8,)
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 8
  config.run.num_steps = 10
  config.run.log_every = 1
  config.run.eval_every = 2
  config.run.checkpoint_every = 3
  config.run.keep_best = True
  config.mesh.data = 1
  return config


@pytest.fixture
def scores(monkeypatch):
  """Sets the accuracy that evaluations report, by step; the loss is 1."""
  original = sessions.Session.log_evaluation

  def set_scores(table):
    def log_evaluation(self, step, report):
      report.update(accuracy=table[step], loss=1.0)
      original(self, step, report)

    monkeypatch.setattr(sessions.Session, 'log_evaluation', log_evaluation)

  return set_scores


def outcome(workdir):
  """Returns what is there of a run: metrics, steps, the best."""
  folder = workdir / 'checkpoints'
  steps = sorted(int(p.name) for p in folder.iterdir() if p.is_dir())
  params, step = parameters.find(workdir).load(
    ['head/kernel'], lambda _, array: array
  )
  metrics = (workdir / metrics_file.FILE).read_text()
  return metrics, steps, best.read(folder), step, params['head/kernel']


def test_the_best_step_is_kept_and_can_be_used(
  config, scores, tmp_path, capsys
):
  scores(PEAK)
  report = train.run(config, tmp_path)
  assert report['accuracy'] == 0.1  # Of the newest, as ever.
  assert f'the best step is 4: --checkpoint={tmp_path}:best' in (
    capsys.readouterr().err
  )
  _, steps, found, newest, _ = outcome(tmp_path)
  assert steps == [4, 10] and newest == 10
  assert found == best.Best(
    4, (0.6, -1.0)
  )  # The first of two that are as good.
  weights = loading.find(f'{tmp_path}:best')
  shapes = pytrees.unflatten(parameters.find(tmp_path).shapes())
  params, fitted = weights.load(shapes)
  assert fitted.step == 4
  _, other = loading.find(str(tmp_path)).load(shapes)
  assert other.step == 10
  assert jax.tree.leaves(params)[0].shape
  of_best = evaluate.run(checkpoint=f'{tmp_path}:best')
  assert of_best != evaluate.run(tmp_path)
  assert of_best == evaluate.run(f'{tmp_path}:best')
  steps = [line['step'] for line in records.read(tmp_path / records.FILE)]
  assert steps[-2:] == [10, 4]
  lines, good = verify.run(tmp_path)
  assert good
  assert lines[1] == '         4  committed, verified, marked as the best'


def test_a_step_that_is_no_longer_the_best_goes(config, scores, tmp_path):
  scores(RISE)
  train.run(config, tmp_path)
  _, steps, found, *_ = outcome(tmp_path)
  assert steps == [10] and found == best.Best(10, (0.7, -1.0))


def test_patience_ends_the_training(config, scores, tmp_path, capsys):
  scores(PEAK)
  config.run.patience = 2
  for _ in range(2):  # The second has nothing left to do.
    report = train.run(config, tmp_path)
    told = capsys.readouterr().err
    assert 'stopped after step 8: the last 2 evaluations were no better' in told
    assert report['accuracy'] == 0.6
    metrics, steps, found, *_ = outcome(tmp_path)
    assert steps == [4, 8] and found.step == 4
    assert json.loads(metrics.splitlines()[-1])['step'] == 8
  config.run.eval_every = 5
  with pytest.raises(errors.UserError, match=r'run\.eval_every'):
    train.run(config, tmp_path)  # It would end elsewhere.


@pytest.mark.parametrize(
  ('table', 'patience', 'is_killed'), [(PEAK, 2, True), (RISE, None, False)]
)
def test_an_interrupted_run_keeps_the_same_step_and_ends_at_the_same(
  config, scores, tmp_path, monkeypatch, table, patience, is_killed
):
  scores(table)
  config.run.patience = patience
  train.run(config, tmp_path / 'whole')
  all_batches = pipeline.train_batches

  def cut_short(*args, **kwargs):
    yield from itertools.islice(all_batches(*args, **kwargs), 3)
    raise InterruptedError

  with monkeypatch.context() as patch:
    patch.setattr(pipeline, 'train_batches', cut_short)
    if is_killed:  # It saves nothing on its way out.
      patch.setattr(sessions.Session, '_can_save', lambda *_: False)
    for _ in range(2):
      with pytest.raises(InterruptedError):
        train.run(config, tmp_path / 'cut')
  train.run(config, tmp_path / 'cut')
  np.testing.assert_equal(
    outcome(tmp_path / 'cut'), outcome(tmp_path / 'whole')
  )


def test_an_evaluation_that_fails_is_done_before_patience_is_asked(
  config, scores, tmp_path, monkeypatch
):
  scores(PEAK)
  config.run.patience = 2
  scored = sessions.Session.log_evaluation

  def fail(self, step, report):
    return 1 / 0 if step == 8 else scored(self, step, report)

  with monkeypatch.context() as patch:
    patch.setattr(sessions.Session, 'log_evaluation', fail)
    with pytest.raises(ZeroDivisionError, match='Step 8 of 10 is saved'):
      train.run(config, tmp_path)
  train.run(config, tmp_path)
  metrics, steps, found, *_ = outcome(tmp_path)
  assert steps == [4, 8] and found.step == 4
  assert json.loads(metrics.splitlines()[-1])['step'] == 8


def test_patience_needs_evaluations_and_the_best_step(config, tmp_path):
  config.run.patience = 3
  for field, value in ('keep_best', False), ('eval_every', 0):
    other = config.copy_and_resolve_references()
    other.run[field] = value
    with pytest.raises(
      errors.UserError, match=r'run\.keep_best=true and a run\.eval_every'
    ):
      train.run(other, tmp_path)


def test_a_run_without_a_best_step_says_how_to_keep_one(
  config, scores, tmp_path
):
  scores(PEAK)
  config.run.keep_best = False
  config.run.num_steps = 4
  train.run(config, tmp_path)
  with pytest.raises(errors.UserError, match=r'with run\.keep_best=true marks'):
    loading.find(f'{tmp_path}:best')


def test_only_a_better_number_is_better():
  tracker = best_step.BestStep()
  assert not tracker.update(1, (math.nan,))
  assert tracker.update(2, (-3.0,))
  assert not tracker.update(3, (-3.0,))
  assert not tracker.update(4, (math.nan,))
  again = best_step.BestStep()
  again.restore(json.loads(json.dumps(tracker.record())))
  assert (again.step, again.score, again.num_since) == (2, (-3.0,), 2)
  assert again.update(5, (-2.9,)) and again.num_since == 0


def test_what_the_best_step_changes_tells_runs_apart(config):
  digests = {recipes.digest(config)}
  config.run.keep_best = False
  digests.add(recipes.digest(config))
  assert len(digests) == 1
  config.run.keep_best, config.run.patience = True, 3
  digests.add(recipes.digest(config))
  config.run.eval_every = 5
  digests.add(recipes.digest(config))
  assert len(digests) == 3


def test_of_equal_accuracies_the_lower_loss_is_better():
  tracker = best_step.BestStep()
  for step, loss in (1, 1.0), (2, 0.3), (3, 0.4), (4, 0.1):
    tracker.update(step, metrics.score({'accuracy': 1.0, 'loss': loss}))
  assert tracker.step == 4
  assert not tracker.update(5, metrics.score({'accuracy': 0.9, 'loss': 0.0}))
