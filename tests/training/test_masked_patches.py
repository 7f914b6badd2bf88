"""A run of masked-patch prediction, and what a fine-tuning takes of it."""

import jax
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.evaluation import evaluate, records
from vit_jax.evaluation import target as targets
from vit_jax.training import train
from vit_jax.weights import loading

pytestmark = pytest.mark.usefixtures('compiled_in_less_time')

SIDE = 16


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Returns the folder of a run of two steps, and what it reports."""
  config = schema.default()
  config.objective.name = 'masked_patches'
  config.data.source = 'synthetic'
  config.data.num_examples = 40
  config.data.num_classes = 2  # Which nothing looks at.
  config.data.resolution = (SIDE,)
  config.model.update(
    name='ViT-Ti/4', width=16, depth=1, num_heads=2, mlp_dim=16
  )
  config.optimizer.warmup_steps = 1
  config.run.update(batch_size=8, num_steps=2, eval_every=1)
  workdir = tmp_path_factory.mktemp('masked') / 'run'
  return workdir, train.run(config, workdir)


def test_a_run_reports_what_is_held_out(run):
  _, report = run
  assert report['num_patches'] == 40 * 16 / 2
  assert 0 <= report['accuracy'] <= 1
  assert report['loss'] == pytest.approx(np.log(512), abs=1)


def test_a_fine_tuning_takes_all_but_the_head_and_the_mask_token(run):
  workdir, _ = run
  found = loading.find(str(workdir))
  assert found.num_classes == 0
  image_size = (2 * SIDE, 2 * SIDE)
  model = loading.build(found, num_classes=5)
  params = model.init(
    jax.random.key(1), np.zeros((1, *image_size, 3), 'f4'), train=False
  )['params']
  changes = loading.changes_to(found, found.model, image_size, head='replace')
  loaded, report = found.load(params, changes)
  assert report.fresh.keys() == {'head/kernel', 'head/bias'}
  assert report.resized.keys() == {'encoder/position_embedding/embedding'}
  assert not report.unused
  assert 'mask_token' not in loaded


def test_features_of_a_run_are_measured_like_those_of_any_other(run, tmp_path):
  workdir, _ = run
  asked = {
    'evaluators': ('fewshot', 'knn'),
    'shots': (1, 2),
    'results_path': tmp_path / 'results.jsonl',
  }
  found = evaluate.run(workdir, **asked)
  assert found['fewshot_num_examples'] == found['knn_num_examples'] == 40
  # Two roads to the same features: as a run, and as weights.
  assert found == pytest.approx(
    evaluate.run(checkpoint=str(workdir), **asked), abs=1e-6
  )
  line = records.read(asked['results_path'])[0]
  assert (line['workdir'], line['step']) == (str(workdir), 2)


def test_features_are_what_the_encoder_pools_of_whole_images(run):
  workdir, _ = run
  target = targets.of_run(workdir, targets.EvalOptions())
  params, _ = target.load()
  _, embed = target.functions(params)
  batch = next(target.batches(target.source('validation')))
  model, loaded = loading.load(loading.find(str(workdir)), (SIDE, SIDE))
  images = np.asarray(batch['image'], np.float32) / 127.5 - 1
  wanted = model.apply({'params': loaded}, images, train=False).pooled
  np.testing.assert_allclose(embed(batch), wanted, atol=1e-5)


def test_a_run_without_classes_has_no_accuracy_of_them(run):
  workdir, _ = run
  with pytest.raises(errors.UserError, match=r'has no head.*fewshot,knn'):
    evaluate.run(workdir)


def test_weights_of_a_run_have_features_and_no_classes(run):
  workdir, _ = run
  model, params = loading.load(loading.find(str(workdir)), (SIDE, SIDE))
  output = model.apply(
    {'params': params}, np.zeros((1, SIDE, SIDE, 3), 'f4'), train=False
  )
  assert output.logits is None
  assert output.pooled.shape == (1, 16)
