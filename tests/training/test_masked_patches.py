"""A run of masked-patch prediction, and what a fine-tuning takes of it."""

import json
import shutil

import jax
import numpy as np
import pytest

from vit_jax import errors, pytrees
from vit_jax.checkpoints import manager, verify
from vit_jax.config import recipes, schema
from vit_jax.evaluation import evaluate, records
from vit_jax.evaluation import target as targets
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, train
from vit_jax.weights import loading

SIDE = 16


def tiny_config():
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
  return config


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Returns the folder of a run of two steps, and what it reports."""
  workdir = tmp_path_factory.mktemp('masked') / 'run'
  return workdir, train.run(tiny_config(), workdir)


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
  assert 'objective' not in loaded


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


# Runs of older versions -------------------------------------------------------


def as_of_old(state):
  """Returns a state whose objective's parameters lie beside the model's."""

  def move(node):
    if not isinstance(node, dict):
      return node
    node = {name: as_of_old(each) for name, each in node.items()}
    return {**node.pop('objective', {}), **node}

  return jax.tree.map(move, state, is_leaf=lambda node: isinstance(node, dict))


def saved_digests(workdir, step):
  path = workdir / f'checkpoints/{step}/run/metadata'
  return json.loads(path.read_text())['digests']


@pytest.fixture(scope='module', params=[False, True], ids=['layers', 'loop'])
def old(request, tmp_path_factory):
  """Folders of a finished run, and of its step 2 as older versions wrote it."""
  folder = tmp_path_factory.mktemp('old')
  config = tiny_config()
  config.model.update(scan=request.param, depth=2)
  config.optimizer.ema_decay = 0.9
  config.run.update(num_steps=4, checkpoint_every=2, checkpoints_to_keep=2)
  train.run(config, folder / 'new')
  mesh = meshes.build(config.mesh)
  shapes = assembly.build(config, 2, mesh, 4).state
  with manager.CheckpointManager(folder / 'new/checkpoints', 2) as saved:
    state, record = saved.restore(shapes, step=2)
  recipes.save(config, folder / 'old')
  with manager.CheckpointManager(folder / 'old/checkpoints', 2) as saved:
    saved.finish(2, as_of_old(state), record)
  return folder / 'new', folder / 'old'


def test_the_old_layout_is_what_it_was(old):
  paths = saved_digests(old[1], 2)
  assert {'params/mask_token', 'ema/head/kernel'} <= paths.keys()
  assert any(path.endswith('/mu/head/kernel') for path in paths)
  assert not any('objective' in path for path in paths)
  assert {'params/objective/mask_token', 'ema/objective/head/kernel'} <= (
    saved_digests(old[0], 2).keys()
  )


def test_weights_of_an_old_run_are_those_of_a_new_one(old, tmp_path):
  new, old = old
  shutil.copytree(new, tmp_path / 'new')
  shutil.rmtree(tmp_path / 'new/checkpoints/4')
  given, wanted = (
    pytrees.flatten(loading.load(loading.find(str(path)), (SIDE, SIDE))[1])
    for path in (old, tmp_path / 'new')
  )
  assert given.keys() == wanted.keys()
  for path in given:
    np.testing.assert_array_equal(given[path], wanted[path], err_msg=path)
  assert not [path for path in given if 'mask' in path or 'head' in path]


def test_an_old_run_is_resumed_bit_for_bit(old, tmp_path, capsys):
  new, old = old
  shutil.copytree(old, tmp_path / 'old')
  lines, good = verify.run(tmp_path / 'old')
  assert good, lines
  config = recipes.load(str(tmp_path / 'old' / recipes.FILE))
  train.run(config, tmp_path / 'old')
  assert 'resumed at step 2' in capsys.readouterr().err
  # Digests of parameters, their average, moments of the optimizer and all else.
  given, wanted = saved_digests(tmp_path / 'old', 4), saved_digests(new, 4)
  assert given == wanted
  assert {path.split('/')[0] for path in given} >= {
    'params',
    'ema',
    'opt_state',
  }
