"""One step of training is the same on any devices, compiled or not."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vit_jax import pytrees
from vit_jax.checkpoints import digests
from vit_jax.config import schema
from vit_jax.evaluation import metrics
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import assembly, train_step

NUM_CLASSES = 10


def tiny_config(**mesh):
  config = schema.default()
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


def flat_params(state):
  return pytrees.flatten(jax.device_get(state.params))


def build(num_devices, config):
  mesh = meshes.build(config.mesh, jax.devices()[:num_devices])
  return assembly.build(config, NUM_CLASSES, mesh, num_steps=10)


def steps(num_devices, **mesh):
  """Returns flat NumPy parameters and the loss after steps from seed 0.

  There are three: the head starts at zero, so the first one moves only it.
  """
  components = build(num_devices, tiny_config(**mesh))
  batch = placement.to_devices(some_batch(), components.mesh)
  state, step = components.init(0), components.train_step()
  for _ in range(3):
    state, means = step(state, batch)
  return flat_params(state), means['loss'].compute()


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
  components = build(1, tiny_config())
  step = train_step.make_train_step(components.objective, components.optimizer)
  init = train_step.make_init(
    components.objective, components.optimizer, components.image_size
  )
  batch = placement.to_devices(some_batch(), components.mesh)
  state = init(jax.random.key(0))
  for _ in range(3):
    state, means = step(state, batch)
  params, loss = on_one_device
  assert_close(flat_params(state), params)
  assert loss == pytest.approx(means['loss'].compute(), rel=1e-6)


def test_parameters_are_born_sharded():
  components = build(8, tiny_config(fsdp=8))
  state = components.init(0)
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
  components = build(1, tiny_config())
  state, batch = (
    components.init(0),
    placement.to_devices(some_batch(), components.mesh),
  )
  before = jax.tree.leaves(state.params)
  components.train_step()(state, batch)
  assert all(leaf.is_deleted() for leaf in before)


def test_every_step_has_its_own_dropout():
  components = build(1, tiny_config())
  state, batch = (
    components.init(0),
    placement.to_devices(some_batch(), components.mesh),
  )
  loss = jax.jit(components.objective.loss)
  losses = {
    float(loss(state.params, batch, jax.random.fold_in(state.rng, step))[0])
    for step in range(4)
  }
  # The head starts at zero: dropout shows once it has learned.
  assert len(losses) == 1
  state, _ = components.train_step()(state, batch)
  losses = {
    float(loss(state.params, batch, jax.random.fold_in(state.rng, step))[0])
    for step in range(4)
  }
  assert len(losses) == 4


# A batch in microbatches ----------------------------------------------------


def in_microbatches(num_microbatches, batch, config=None, num_devices=1):
  """Returns the state and metrics after two steps without dropout."""
  config = config or tiny_config()
  config.model.update({'dropout': 0.0, 'drop_path': 0.0})
  config.optimizer.accumulation_steps = num_microbatches
  components = build(num_devices, config)
  state, step = components.init(0), components.train_step()
  batch = placement.to_devices(batch, components.mesh)
  for _ in range(2):
    state, means = step(state, batch)
  return state, means


def unevenly_masked():
  """Returns a batch whose components have different numbers of examples."""
  batch = some_batch()
  batch['mask'][[0, 4, 8, 12, 5]] = False  # Of four components, one has none.
  batch['label'][6] = -1
  return batch


@pytest.mark.parametrize('mixup', [0.0, 1.0])
def test_parts_of_a_batch_add_up_to_the_whole(mixup):
  def config():
    config = tiny_config()
    config.data.mixup = mixup
    return config

  whole, means = in_microbatches(1, unevenly_masked(), config())
  state, of_parts = in_microbatches(4, unevenly_masked(), config())
  assert_close(flat_params(state), flat_params(whole))
  assert state.health.mean_loss == pytest.approx(whole.health.mean_loss)
  assert means.keys() == of_parts.keys()
  for name in means:
    assert of_parts[name].count == means[name].count
    assert of_parts[name].compute() == pytest.approx(means[name].compute())


def test_parts_add_up_over_devices_and_in_a_loop_of_layers():
  config = tiny_config(fsdp=4, tensor=2)
  config.model.scan = True
  whole, _ = in_microbatches(1, unevenly_masked())
  state, _ = in_microbatches(2, unevenly_masked(), config, num_devices=8)
  state = state.replace(params=pytrees.unstack(state.params))
  assert_close(flat_params(state), flat_params(whole))


def test_parameters_travel_and_tokens_stay(capfd):
  config = tiny_config(fsdp=4, tensor=2)
  config.model.scan = True
  config.optimizer.accumulation_steps = 2
  components = build(8, config)
  step = components.train_step().lower(
    components.state, components.batch(16), False
  )
  text = step.compile().as_text()
  assert 'nvoluntary full rematerialization' not in capfd.readouterr().err
  sent = re.findall(
    r'= (.*) (?:all-gather|all-to-all|collective-permute)(?:-start)?\(', text
  )
  assert len(sent) > 5
  num_tokens = 9  # No parameter has such a dimension but position embeddings.
  assert [
    shape for shape in sent if re.search(rf'\b{num_tokens},', shape)
  ] == []
  assert 'all-to-all' not in text


def test_every_part_has_its_own_dropout():
  class Draw:
    """An objective whose loss is a number drawn for each part."""

    def init(self, rng, image_size):
      return {'x': jnp.float32(0)}

    def loss(self, params, batch, rng):
      drawn = jax.random.uniform(rng)
      means = {
        'loss': metrics.Mean.of(drawn[None]),
        'square': metrics.Mean.of(drawn[None] ** 2),
      }
      return drawn + 0 * params['x'], means

  step = train_step.make_train_step(Draw(), optax.sgd(0.1), num_microbatches=4)
  init = train_step.make_init(Draw(), optax.sgd(0.1), (8, 8))
  _, means = step(init(jax.random.key(0)), {'image': jnp.zeros((8, 2))})
  variance = means['square'].compute() - means['loss'].compute() ** 2
  assert variance > 1e-3


class Sum:
  """An objective whose loss is a parameter and the numbers of a batch."""

  def init(self, rng, image_size):
    return {'x': jnp.float32(0)}

  def loss(self, params, batch, rng):
    loss = params['x'] + jnp.sum(batch)
    drawn = metrics.Mean(jax.random.uniform(rng), jnp.float32(1))
    return loss, {'loss': metrics.Mean(loss, jnp.float32(1)), 'drawn': drawn}


def test_a_batch_is_mixed_by_a_key_of_its_own():
  optimizer = optax.sgd(0.1)
  step = train_step.make_train_step(
    Sum(), optimizer, mix=lambda batch, rng: jax.random.uniform(rng)
  )
  init = train_step.make_init(Sum(), optimizer, (8, 8))
  _, means = step(init(jax.random.key(0)), jnp.zeros(()))
  assert means['loss'].compute() != means['drawn'].compute()


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_enough_to_skip_a_step(value):
  optimizer = optax.sgd(0.1)
  step = train_step.make_train_step(Sum(), optimizer)
  state = train_step.make_init(Sum(), optimizer, (8, 8))(jax.random.key(0))
  after, means = step(state, jnp.float32(value))  # Its gradient is 1.
  assert means['skipped'].compute() == 1
  assert after.params == state.params
  after, _ = step(state, jnp.float32(1))
  assert after.params['x'] == pytest.approx(-0.1)


# What is reported -------------------------------------------------------------


def test_the_norm_of_the_gradients_is_that_before_clipping():
  optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1))
  step = train_step.make_train_step(Sum(), optimizer)
  state = train_step.make_init(Sum(), optimizer, (8, 8))(jax.random.key(0))
  after, means = step(state, jnp.float32(1))
  assert means['gradient_norm'].compute() == 1.0
  assert after.params['x'] == pytest.approx(-0.05)
  assert 'parameter_norm' not in means


def test_the_norm_of_the_parameters_is_that_after_the_update():
  optimizer = optax.sgd(0.1)
  step = train_step.make_train_step(
    Sum(), optimizer, report_parameter_norm=True
  )
  state = train_step.make_init(Sum(), optimizer, (8, 8))(jax.random.key(0))
  _, means = step(state, jnp.float32(1))
  assert means['parameter_norm'].compute() == pytest.approx(0.1)


def test_the_learning_rate_is_that_of_the_update():
  """A step that is skipped does not move the schedule on."""
  rates = optax.linear_schedule(1.0, 0.0, 10)
  optimizer = optax.sgd(rates)
  step = train_step.make_train_step(Sum(), optimizer, learning_rate=rates)
  state = train_step.make_init(Sum(), optimizer, (8, 8))(jax.random.key(0))
  for value in 1.0, np.nan, 1.0, 1.0:
    before = state.params['x']
    state, means = step(state, jnp.float32(value))
    moved = float(before - state.params['x'])  # Its gradient is 1.
    if np.isfinite(value):
      assert means['learning_rate'].compute() == pytest.approx(moved)


# The average -----------------------------------------------------------------


@pytest.fixture(scope='module')
def averaged():
  """The components of a run with an average, a batch and a compiled step."""
  config = tiny_config(fsdp=2)
  config.optimizer.ema_decay = 0.9
  components = build(2, config)
  batch = placement.to_devices(some_batch(), components.mesh)
  return components, batch, components.train_step()


def test_the_average_is_that_of_the_formula(averaged):
  components, batch, step = averaged
  state = components.init(0)
  wanted = flat_params(state)
  for _ in range(3):
    state, _ = step(state, batch)
    params = flat_params(state)
    wanted = {path: 0.9 * wanted[path] + 0.1 * params[path] for path in wanted}
  given = pytrees.flatten(jax.device_get(state.ema))
  assert_close(given, wanted)
  assert {leaf.dtype for leaf in given.values()} == {np.dtype(np.float32)}
  assert state.eval_params is state.ema
  moved = given['head/kernel'] - params['head/kernel']
  assert np.abs(moved).max() > 1e-3


def test_the_average_lies_as_the_parameters_do(averaged):
  state = averaged[0].init(0)
  shardings = [
    jax.tree.map(lambda leaf: leaf.sharding, tree)
    for tree in (state.params, state.ema)
  ]
  assert shardings[0] == shardings[1]


def test_a_step_that_is_skipped_leaves_the_average_as_it_is(averaged):
  components, batch, step = averaged
  state, _ = step(components.init(0), batch)
  before = digests.of(state.ema)
  nothing = {**batch, 'mask': jnp.zeros_like(batch['mask'])}
  after, _ = step(state, nothing, np.array([True]))  # Told to halt.
  assert digests.of(after.ema) == before
  poisoned = after.replace(
    params=jax.tree.map(lambda leaf: leaf * np.nan, after.params)
  )
  after, means = step(poisoned, batch)
  assert means['skipped'].compute() == 1
  assert digests.of(after.ema) == before


def test_without_an_average_parameters_are_evaluated():
  state = build(1, tiny_config()).init(0)
  assert state.ema is None and state.eval_params is state.params


# Memory ----------------------------------------------------------------------


@pytest.mark.parametrize('scan', [False, True])
def test_the_compiled_step_writes_its_state_over_the_old_one(scan):
  config = tiny_config()
  config.optimizer.name = 'adam'
  config.optimizer.ema_decay = 0.9
  config.model.scan = scan
  components = build(1, config)
  step = components.train_step().lower(
    components.state, components.batch(16), False
  )
  found = step.compile().memory_analysis()
  leaves = jax.tree.leaves(
    (components.state.params, components.state.opt_state)
  )
  leaves += jax.tree.leaves(components.state.ema)
  num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
  assert found.alias_size_in_bytes >= num_bytes
  # What it writes anew are metrics, and no second state.
  fresh = found.output_size_in_bytes - found.alias_size_in_bytes
  assert fresh < 0.02 * num_bytes


class TwoProducts:
  """Has a first and a second kernel."""

  def init(self, rng, image_size):
    return {'first': jnp.ones((8, 8)), 'second': jnp.ones((8, 8))}

  def loss(self, params, batch, rng):
    loss = jnp.sum((batch @ params['first'] @ params['second']) ** 2)
    return loss, {'loss': metrics.Mean(loss, jnp.float32(1))}


def test_no_gradient_is_computed_of_what_is_frozen():
  def num_products(**trained):
    frozen = jax.tree.map(lambda keep: not keep, trained)
    optimizer = optax.selective_transform(optax.sgd(0.1), freeze_mask=frozen)
    init = train_step.make_init(TwoProducts(), optimizer, (8, 8))
    step = train_step.make_train_step(TwoProducts(), optimizer, trained=trained)
    state = jax.eval_shape(init, jax.random.key(0))
    lowered = jax.jit(step).lower(state, jnp.ones((8, 8)))
    return lowered.compile().as_text().count(' dot(')

  assert num_products(first=True, second=True) == 5
  assert num_products(first=False, second=True) == 3
