"""Training starts from weights that exist, and only at its start."""

import json
import pathlib

import cv2
import jax
import numpy as np
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import recipes, schema, validation
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, initialization, train
from vit_jax.weights import loading, mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = str(ROOT / 'configs/finetune/transfer.py')
POSITIONS = 'encoder/position_embedding/embedding'
TINY = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}


def tiny_config(**fields):
  config = schema.default()
  config.model.update(name='ViT-B/4', **TINY)
  config.model.update(fields)
  config.data.source = 'synthetic'
  config.data.update({'num_classes': 4, 'num_examples': 32})
  config.data.resolution = (8, 16)
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 16
  config.run.num_steps = 2
  return config


def save(path, num_classes=7, image_size=(16, 16), **fields):
  """Writes a random model as Google's .npz; returns its parameters, flat."""
  config = tiny_config(**fields)
  found = loading.models.build(config.model, num_classes)
  shapes = pytrees.flatten(models.params_of(found, image_size))
  rng = np.random.default_rng(0)
  flat = {
    path: 0.3 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  npz.save(path, mapping.to_theirs(flat, vit.rows()))
  return flat


def assemble(config):
  return assembly.build(config, 4, meshes.build(config.mesh), 2)


def first_state(config, say=lambda line: None):
  return initialization.first_state(config, assemble(config), say)


def test_parameters_are_those_of_the_file_and_the_head_is_fresh(tmp_path):
  given = save(tmp_path / 'a.npz')
  config = tiny_config()
  config.init = str(tmp_path / 'a.npz')
  lines = []
  state = first_state(config, lines.append)
  params = pytrees.flatten(jax.device_get(state.params))
  assert params['head/kernel'].shape == (8, 4)
  assert not params['head/kernel'].any()
  assert params[POSITIONS].shape == (1, 1 + 2 * 4, 8)
  for path in given.keys() - {'head/kernel', 'head/bias', POSITIONS}:
    np.testing.assert_array_equal(params[path], given[path], err_msg=path)
  (line,) = lines
  assert f'{POSITIONS} ((1, 17, 8), (1, 9, 8))' in line
  assert '2 fresh (as initialised)' in line


def test_every_leaf_lies_where_the_mesh_wants_it(tmp_path):
  save(tmp_path / 'a.npz')
  config = tiny_config()
  config.init = str(tmp_path / 'a.npz')
  config.mesh.fsdp = 4
  components = assemble(config)
  state = initialization.first_state(config, components, print)
  given = pytrees.flatten(state)
  for path, leaf in pytrees.flatten(components.state).items():
    assert given[path].sharding == leaf.sharding, path
  kernel = given['params/encoder/block_0/mlp/hidden/kernel']
  assert kernel.addressable_shards[0].data.size == kernel.size / 4


@pytest.mark.parametrize('pooling', ['average', 'attention'])
def test_another_pooling_does_without_the_class_token(tmp_path, pooling):
  save(tmp_path / 'a.npz')
  config = tiny_config(pooling=pooling)
  config.init = str(tmp_path / 'a.npz')
  lines = []
  params = pytrees.flatten(first_state(config, lines.append).params)
  assert 'class_token' not in params
  assert 'class_token (1, 1, 8)' in lines[0]


def test_a_run_is_a_start_for_another(tmp_path):
  config = tiny_config()
  config.data.resolution = (8, 8)
  train.run(config, tmp_path / 'first')
  given = loading.find(str(tmp_path / 'first'))
  params, _ = given.load(
    models.params_of(loading.build(given), (8, 8)),
    loading.changes_to(given, given.model, (8, 8)),
  )
  config = tiny_config()
  config.init = str(tmp_path / 'first')
  state = first_state(config)
  np.testing.assert_array_equal(
    jax.device_get(state.params['encoder']['norm']['scale']),
    params['encoder']['norm']['scale'],
  )


def test_a_resumed_run_does_not_read_the_weights_again(tmp_path):
  save(tmp_path / 'a.npz')
  config = tiny_config()
  config.init = str(tmp_path / 'a.npz')
  report = train.run(config, tmp_path / 'run')
  (tmp_path / 'a.npz').unlink()
  assert train.run(config, tmp_path / 'run') == report


def test_weights_that_are_not_there_are_told_before_anything(tmp_path):
  config = tiny_config()
  config.init = str(tmp_path / 'a.npz')
  with pytest.raises(errors.UserError, match='is no file, folder or address'):
    train.run(config, tmp_path / 'run')
  assert not (tmp_path / 'run/config.json').exists()


def test_weights_that_compute_otherwise_are_refused(tmp_path):
  save(tmp_path / 'a.npz')
  config = tiny_config(gelu='erf')
  config.init = str(tmp_path / 'a.npz')
  with pytest.raises(errors.UserError, match=r'--config\.model\.gelu=tanh'):
    train.run(config, tmp_path / 'run')


def test_the_wrong_model_is_refused_with_the_difference(tmp_path):
  save(tmp_path / 'a.npz')
  config = tiny_config(depth=3)
  config.init = str(tmp_path / 'a.npz')
  with pytest.raises(errors.UserError, match=r'\+ encoder/block_2/mlp/out'):
    train.run(config, tmp_path / 'run')


# The recipe -------------------------------------------------------------------


def write_images(folder):
  rng = np.random.default_rng(0)
  for split in 'train', 'test':
    for label, colour in (('blue', 200), ('dark', 20)):
      (folder / split / label).mkdir(parents=True)
      for number in range(16):
        pixels = rng.integers(0, 40, (20, 24, 3), np.uint8)
        pixels[..., 0] += np.uint8(colour)
        cv2.imwrite(str(folder / split / label / f'{number}.png'), pixels)


def test_the_recipe_fine_tunes_on_a_folder_of_images(tmp_path):
  save(tmp_path / 'a.npz', image_size=(32, 32), name='ViT-Ti/8')
  write_images(tmp_path / 'photos')
  overrides = {
    'data.source': 'folder',
    'data.dataset': tmp_path / 'photos',
    'run.batch_size': 16,
    'run.num_steps': 40,
    'optimizer.learning_rate': 0.1,
    'optimizer.warmup_steps': 2,
    **{f'model.{name}': value for name, value in TINY.items()},
  }
  knobs = f'dataset=oxford_iiit_pet,variant=Ti/8,resolution=48,init={tmp_path}'
  config = recipes.load(
    f'{RECIPE}:{knobs}/a.npz',
    [f'--config.{field}={value}' for field, value in overrides.items()],
  )
  report = train.run(config, tmp_path / 'run')
  assert report['accuracy'] == 1.0
  saved = json.loads((tmp_path / 'run/config.json').read_text())
  assert saved['init'] == f'{tmp_path}/a.npz'


@pytest.mark.parametrize(
  ('dataset', 'num_steps', 'train_split'),
  [
    ('cifar10', 10_000, 'train'),
    ('imagenet2012', 20_000, 'train'),
    ('oxford_flowers102', 500, 'train+validation'),
    ('vtab/dtd', 2_500, 'train'),
  ],
)
def test_the_recipe_has_the_paper_s_table(dataset, num_steps, train_split):
  config = recipes.load(f'{RECIPE}:dataset={dataset}')
  validation.validate(config, 8)
  assert config.init == 'imagenet21k/ViT-B_16'
  assert config.run.num_steps == num_steps
  assert config.data.train_split == train_split
  chosen = recipes.load(f'{RECIPE}:dataset={dataset},choosing=true')
  assert chosen.data.train_split != train_split


def test_the_recipe_names_the_data_sets_that_it_has():
  with pytest.raises(errors.UserError, match='Did you mean cifar10'):
    recipes.load(f'{RECIPE}:dataset=cifar11')
