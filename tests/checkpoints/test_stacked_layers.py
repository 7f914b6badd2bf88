"""With layers in a loop or one by one, a run and its weights are the same."""

import jax
import numpy as np
import pytest

from vit_jax import pytrees
from vit_jax.checkpoints import digests, manager
from vit_jax.config import recipes, schema
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import assembly, initialization
from vit_jax.weights import loading, mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit

NUM_CLASSES, SIDE = 3, 8


def tiny_config(scan, **mesh):
  config = schema.default()
  config.model.update(name='ViT-B/4', width=8, depth=2, num_heads=2)
  config.model.update(mlp_dim=16, scan=scan)
  config.data.resolution = (SIDE,)
  config.optimizer.warmup_steps = 0
  config.optimizer.ema_decay = 0.9
  config.optimizer.trainable_rules = (('head/bias', False), ('.*', True))
  config.mesh.update(mesh)
  return config


def assemble(scan, **mesh):
  config = tiny_config(scan, **mesh)
  return assembly.build(config, NUM_CLASSES, meshes.build(config.mesh), 4)


@pytest.fixture(scope='module')
def trained():
  """The state after a step, layer by layer, over devices."""
  components = assemble(False, fsdp=2)
  draw = np.random.default_rng(0)
  batch = {
    'image': draw.integers(0, 256, (8, SIDE, SIDE, 3), np.uint8),
    'label': draw.integers(0, NUM_CLASSES, 8, np.int32),
    'mask': np.ones(8, bool),
    'index': np.arange(8),
  }
  batch = placement.to_devices(batch, components.mesh)
  return components.train_step()(components.init(0), batch)[0]


def write(path, state, step=1):
  with manager.CheckpointManager(path, 1) as saved:
    saved.finish(step, state, {})


def read(path, components):
  with manager.CheckpointManager(path, 1, read_only=True) as saved:
    return saved.restore(components.state)[0]


def test_a_checkpoint_goes_from_layers_to_a_loop_and_back(trained, tmp_path):
  write(tmp_path / 'single', trained)
  loop = assemble(True, fsdp=4)
  stacked = read(tmp_path / 'single', loop)
  assert digests.of(stacked) == digests.of(pytrees.stack(trained))
  for path, leaf in pytrees.flatten(loop.state).items():
    given = pytrees.flatten(stacked)[path]
    assert given.sharding == leaf.sharding, path
  kernels = [
    leaf.shape
    for path, leaf in pytrees.flatten(stacked).items()
    if path.endswith('encoder/blocks/mlp/hidden/kernel')
  ]
  assert kernels == [(2, 8, 16)] * 4  # With two moments and an average.
  write(tmp_path / 'stacked', stacked)
  back = read(tmp_path / 'stacked', assemble(False))
  assert digests.of(back) == digests.of(trained)


def test_what_a_loop_has_saved_is_published_layer_by_layer(trained, tmp_path):
  config = tiny_config(True)
  config.data.num_classes = NUM_CLASSES
  recipes.save(config, tmp_path)
  write(tmp_path / 'checkpoints', pytrees.stack(trained))
  found = loading.find(str(tmp_path))
  _, params = loading.load(found, (SIDE, SIDE))
  wanted = pytrees.flatten(jax.device_get(trained.ema))
  flat = pytrees.flatten(params)
  assert flat.keys() == wanted.keys()
  for path in flat:
    np.testing.assert_array_equal(flat[path], wanted[path], err_msg=path)
  raw = pytrees.flatten(jax.device_get(trained.params))
  assert (flat['head/kernel'] != raw['head/kernel']).any()


@pytest.mark.parametrize('mesh', [{}, {'fsdp': 4}])
def test_released_weights_start_a_loop(tmp_path, mesh):
  config = tiny_config(True, **mesh)
  components = assembly.build(config, NUM_CLASSES, meshes.build(config.mesh), 4)
  shapes = pytrees.flatten(pytrees.unstack(components.state.params))
  draw = np.random.default_rng(0)
  given = {
    path: draw.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  npz.save(tmp_path / 'a.npz', mapping.to_theirs(given, vit.rows()))
  config.init = str(tmp_path / 'a.npz')
  state = initialization.first_state(config, components, lambda line: None)
  params = pytrees.flatten(jax.device_get(pytrees.unstack(state.params)))
  for path in given.keys() - {'head/kernel', 'head/bias'}:
    np.testing.assert_array_equal(params[path], given[path], err_msg=path)
  assert not params['head/kernel'].any()
  assert digests.of(state.ema) == digests.of(state.params)
  for path, leaf in pytrees.flatten(components.state).items():
    assert pytrees.flatten(state)[path].sharding == leaf.sharding, path
