"""One step of training is the same on any devices, compiled or not."""

import jax
import numpy as np
import pytest

from vit_jax import assembly, experiment, pytrees, train_step
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement

NUM_CLASSES = 10


def tiny_config(**mesh):
  config = experiment.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 32, 'depth': 2, 'num_heads': 4})
  config.model.update({'mlp_dim': 64, 'dropout': 0.1, 'drop_path': 0.1})
  config.data.resolution = (8, 16)
  # SGD: Adam would blow up the rounding of gradients that are truly zero, such
  # as those of the keys' biases.
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.1
  config.optimizer.warmup_steps = 0
  config.optimizer.clip_norm = 1.0
  config.run.num_steps = 10
  config.mesh.update(mesh)
  return config


def some_batch(size=16):
  draw = np.random.default_rng(0)
  return {
    'image': draw.integers(0, 256, (size, 8, 16, 3), np.uint8),
    'label': draw.integers(0, NUM_CLASSES, size, np.int32),
    'mask': np.ones(size, bool),
    'index': np.arange(size),
  }


def build(num_devices, config):
  mesh = meshes.build(config.mesh, jax.devices()[:num_devices])
  return assembly.build(config, NUM_CLASSES, mesh, num_steps=10)


def steps(num_devices, **mesh):
  """Returns flat NumPy parameters and the loss after steps from seed 0.

  There are three: the head starts at zero, so the first one moves only it.
  """
  parts = build(num_devices, tiny_config(**mesh))
  batch = placement.to_devices(some_batch(), parts.mesh)
  state, step = parts.init(0), parts.train_step()
  for _ in range(3):
    state, means = step(state, batch)
  params = pytrees.flatten(jax.device_get(state.params))
  return params, means['loss'].compute()


def assert_close(ours, theirs):
  assert ours.keys() == theirs.keys()
  for path in ours:
    np.testing.assert_allclose(
      ours[path], theirs[path], rtol=1e-5, atol=1e-6, err_msg=path
    )


@pytest.fixture(scope='module')
def on_one_device():
  return steps(1)


@pytest.mark.parametrize(
  ('num_devices', 'mesh'),
  [
    (2, {}),
    (8, {}),
    (8, {'fsdp': 4}),
    (8, {'fsdp': 2, 'tensor': 4}),
  ],
)
def test_devices_do_not_change_a_step(on_one_device, num_devices, mesh):
  params, loss = steps(num_devices, **mesh)
  assert_close(params, on_one_device[0])
  assert loss == pytest.approx(on_one_device[1], rel=1e-6)


def test_loop_equals_jit(on_one_device):
  parts = build(1, tiny_config())
  step = train_step.make_train_step(parts.objective, parts.optimizer)
  init = train_step.make_init(
    parts.objective, parts.optimizer, parts.image_size
  )
  batch = placement.to_devices(some_batch(), parts.mesh)
  state = init(jax.random.key(0))
  for _ in range(3):
    state, means = step(state, batch)
  params, loss = on_one_device
  assert_close(pytrees.flatten(jax.device_get(state.params)), params)
  assert loss == pytest.approx(means['loss'].compute(), rel=1e-6)


def test_parameters_are_born_sharded():
  parts = build(8, tiny_config(fsdp=8))
  state = parts.init(0)
  kernel = state.params['encoder']['block_0']['mlp']['hidden']['kernel']
  moment = [
    leaf
    for path, leaf in pytrees.flatten(state.opt_state).items()
    if path.endswith('encoder/block_0/mlp/hidden/kernel')
  ]
  for leaf in (kernel, *moment):
    assert leaf.addressable_shards[0].data.shape == (32 // 8, 64)
  assert len(moment) == 1


def test_the_state_is_not_copied():
  parts = build(1, tiny_config())
  state, batch = parts.init(0), placement.to_devices(some_batch(), parts.mesh)
  before = jax.tree.leaves(state.params)
  parts.train_step()(state, batch)
  assert all(leaf.is_deleted() for leaf in before)


def test_every_step_has_its_own_dropout():
  parts = build(1, tiny_config())
  state, batch = parts.init(0), placement.to_devices(some_batch(), parts.mesh)
  loss = jax.jit(parts.objective.loss)
  losses = {
    float(loss(state.params, batch, jax.random.fold_in(state.rng, step))[0])
    for step in range(4)
  }
  # The head starts at zero: dropout shows once it has learned.
  assert len(losses) == 1
  state, _ = parts.train_step()(state, batch)
  losses = {
    float(loss(state.params, batch, jax.random.fold_in(state.rng, step))[0])
    for step in range(4)
  }
  assert len(losses) == 4
