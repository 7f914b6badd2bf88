"""Updates against the equations, written a second time in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import schema
from vit_jax.training.optim import optimizers

NUM_STEPS = 8
PATHS = ('stem/kernel', 'stem/bias', 'head/kernel', 'head/bias')


def _tree(seed):
  rng = np.random.default_rng(seed)
  return {
    path: rng.normal(size=(3, 2) if 'kernel' in path else 2).astype(np.float32)
    for path in PATHS
  }


def _config(**changes):
  optimizer = schema.default().optimizer
  optimizer.update(
    {
      'learning_rate': 0.02,
      'schedule': 'linear',
      'warmup_steps': 0,
      'beta2': 0.99,
      'weight_decay': 0.3,
    }
  )
  optimizer.update(changes)
  return optimizer


def _train(optimizer, num_updates=3, jit=False):
  """Returns flat parameters after a few updates, and the state."""
  params = pytrees.unflatten(_tree(0))
  transformation = optimizers.build(optimizer, params, NUM_STEPS)
  update = jax.jit(transformation.update) if jit else transformation.update
  state = transformation.init(params)
  for step in range(num_updates):
    grads = pytrees.unflatten(_tree(1 + step))
    updates, state = update(grads, state, params)
    params = optax.apply_updates(params, updates)
  return pytrees.flatten(params), state


def _by_hand(optimizer, direction, num_updates=3, rates=None):
  """Follows the equations in the docstring of `build`, one path at a time."""
  params = _tree(0)
  peak = optimizer.learning_rate
  for path in PATHS:
    d = 1.0 if path.endswith('kernel') else 0.0
    m = rates[path] if rates else 1.0
    memory = {'first': 0.0, 'second': 0.0}
    for step in range(num_updates):
      lr = peak * (1 - step / NUM_STEPS)
      u = direction(optimizer, _tree(1 + step)[path], memory, step + 1)
      decay = optimizer.weight_decay * d * params[path]
      if optimizer.decay_times_learning_rate:
        params[path] = params[path] - lr * m * (u + decay)
      else:
        params[path] = params[path] - (lr * m * u + lr / peak * decay)
  return params


def _adam(optimizer, grad, memory, count):
  b1, b2 = optimizer.beta1, optimizer.beta2
  memory['first'] = b1 * memory['first'] + (1 - b1) * grad
  memory['second'] = b2 * memory['second'] + (1 - b2) * grad**2
  first = memory['first'] / (1 - b1**count)
  second = memory['second'] / (1 - b2**count)
  return first / (np.sqrt(second) + optimizer.eps)


def _sgd(optimizer, grad, memory, count):
  del count
  memory['first'] = optimizer.momentum * memory['first'] + grad
  return memory['first']


def _assert_close(given, wanted, rtol=1e-5):
  assert given.keys() == wanted.keys()
  for path in wanted:
    np.testing.assert_allclose(given[path], wanted[path], rtol, 1e-7)


@pytest.mark.parametrize('times', [True, False])
@pytest.mark.parametrize('name,direction', [('adam', _adam), ('sgd', _sgd)])
def test_updates_follow_the_equations(name, direction, times):
  optimizer = _config(name=name, decay_times_learning_rate=times)
  _assert_close(_train(optimizer)[0], _by_hand(optimizer, direction))


@pytest.mark.parametrize('times', [True, False])
def test_learning_rate_rules_multiply_decay_only_with_the_rate(times):
  optimizer = _config(
    decay_times_learning_rate=times,
    learning_rate_rules=(('stem/.*', 0.25), ('.*', 2.0)),
  )
  rates = {path: 0.25 if 'stem' in path else 2.0 for path in PATHS}
  expected = _by_hand(optimizer, _adam, rates=rates)
  _assert_close(_train(optimizer)[0], expected)


def test_the_two_decays_agree_when_one_is_the_other_times_the_peak():
  paper = _config()
  shape = _config(
    decay_times_learning_rate=False,
    weight_decay=paper.weight_decay * paper.learning_rate,
  )
  _assert_close(_train(paper)[0], _train(shape)[0])


def test_updates_are_the_same_under_jit():
  optimizer = _config(clip_norm=0.5)
  _assert_close(_train(optimizer, jit=True)[0], _train(optimizer)[0], 1e-6)


def test_frozen_parameters_stay_as_they_are_and_have_no_state():
  rules = (('stem/.*', False), ('.*', True))
  params, state = _train(_config(trainable_rules=rules))
  for path in 'stem/kernel', 'stem/bias':
    np.testing.assert_array_equal(params[path], _tree(0)[path])
  assert not np.array_equal(params['head/kernel'], _tree(0)['head/kernel'])
  paths = list(pytrees.flatten(state))
  assert not [path for path in paths if 'stem' in path]
  assert len([path for path in paths if path.endswith('head/kernel')]) == 2


def test_a_frozen_gradient_that_is_not_finite_harms_nothing():
  rules = (('stem/.*', False), ('.*', True))
  params = pytrees.unflatten(_tree(0))
  optimizer = _config(trainable_rules=rules, clip_norm=1.0)
  transformation = optimizers.build(optimizer, params, NUM_STEPS)
  grads = pytrees.unflatten(_tree(1))
  grads['stem']['kernel'] = np.full((3, 2), np.nan, np.float32)
  updates, _ = transformation.update(grads, transformation.init(params), params)
  assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


@pytest.mark.parametrize('trainable', ['.*', 'head/.*'])
def test_clipping_scales_trainable_gradients_to_the_norm(trainable):
  rules = ((trainable, True), ('.*', False))
  optimizer = _config(
    name='sgd',
    schedule='constant',
    weight_decay=0.0,
    clip_norm=0.1,
    trainable_rules=rules,
  )
  params, _ = _train(optimizer, num_updates=1)
  kept = [path for path in PATHS if trainable == '.*' or 'head' in path]
  grads = _tree(1)
  norm = np.sqrt(sum(np.sum(grads[path] ** 2) for path in kept))
  for path in kept:
    expected = _tree(0)[path] - 0.02 * grads[path] * 0.1 / norm
    np.testing.assert_allclose(params[path], expected, rtol=1e-5)


def test_a_norm_below_the_limit_is_not_clipped():
  _assert_close(_train(_config(clip_norm=1e3))[0], _train(_config())[0], 0)


@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
def test_the_first_moment_has_the_dtype_of_the_accumulator(name):
  optimizer = _config(name=name, accumulator_dtype='bfloat16')
  params, state = _train(optimizer)
  dtypes = [leaf.dtype for leaf in jax.tree.leaves(state)]
  assert dtypes.count(jnp.bfloat16) == len(PATHS)
  # Adam's mean square stays exact.
  assert dtypes.count(jnp.float32) == len(PATHS) * (name == 'adam')
  assert all(value.dtype == jnp.float32 for value in params.values())
  exact, _ = _train(_config(name=name))
  for path in PATHS:
    np.testing.assert_allclose(params[path], exact[path], atol=1e-3)


@pytest.mark.parametrize(
  'field', ['decay_rules', 'learning_rate_rules', 'trainable_rules']
)
def test_an_uncovered_parameter_is_a_user_error(field):
  value = True if field == 'trainable_rules' else 1.0
  optimizer = _config(**{field: (('.*/kernel', value),)})
  with pytest.raises(errors.UserError, match=f'{field} .*head/bias, stem/bias'):
    _train(optimizer)


def test_an_unknown_optimizer_is_a_user_error():
  with pytest.raises(errors.UserError, match='Did you mean adam'):
    _train(_config(name='adm'))


def test_decay_in_the_shape_of_a_schedule_that_is_zero_is_a_user_error():
  optimizer = _config(learning_rate=0.0, decay_times_learning_rate=False)
  with pytest.raises(errors.UserError, match='no schedule whose shape'):
    _train(optimizer)


def test_the_state_can_be_made_from_shapes_alone():
  params = pytrees.unflatten(_tree(0))
  shapes = jax.eval_shape(lambda: params)
  transformation = optimizers.build(_config(), shapes, NUM_STEPS)
  given = jax.eval_shape(transformation.init, shapes)
  wanted = jax.eval_shape(lambda: transformation.init(params))
  assert given == wanted


# Layer-wise decay ------------------------------------------------------------

DEPTH = 3


def _vit_tree(seed):
  """Values for every parameter of a small ViT, layer by layer."""
  config = schema.default()
  config.model.update(
    {'width': 4, 'depth': DEPTH, 'num_heads': 2, 'mlp_dim': 8}
  )
  model = models.build(config.model, 3, lambda x: x)
  shapes = jax.eval_shape(
    lambda rng: model.init(rng, jnp.zeros((1, 32, 32, 3)), train=False),
    jax.random.key(0),
  )['params']
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes
  )


def _vit_updates(optimizer, scan):
  """Returns the flat updates, layer by layer, of one step."""
  params, grads = _vit_tree(0), _vit_tree(1)
  if scan:
    params, grads = pytrees.stack(params), pytrees.stack(grads)
    assert pytrees.are_stacked(params)
  transformation = optimizers.build(optimizer, params, NUM_STEPS)
  updates, _ = transformation.update(grads, transformation.init(params), params)
  return pytrees.flatten(pytrees.unstack(updates))


def _layer(path):
  """The layer of a parameter, as BEiT and MAE count."""
  if path.startswith(('class_token', 'stem/', 'encoder/position_embedding/')):
    return 0
  if path.startswith('encoder/block_'):
    return 1 + int(path.split('/')[1].removeprefix('block_'))
  assert path.startswith(('encoder/norm/', 'head/')), path
  return DEPTH + 1


@pytest.mark.parametrize('scan', [False, True])
def test_layer_decay_multiplies_the_rate_of_each_layer(scan):
  optimizer = _config(
    name='sgd',
    momentum=0.0,
    layer_decay=0.7,
    learning_rate_rules=(
      ('encoder/block_1/.*', 3.0), ('head/.*', 10.0), ('.*', 1.0)
    ),
  )  # fmt: skip
  given = _vit_updates(optimizer, scan)
  params, grads = map(pytrees.flatten, (_vit_tree(0), _vit_tree(1)))
  assert given.keys() == params.keys()
  assert {_layer(path) for path in given} == set(range(DEPTH + 2))
  for path, update in given.items():
    rate = 0.02 * 0.7 ** (DEPTH + 1 - _layer(path))
    rate *= 3 if 'block_1/' in path else 10 if 'head/' in path else 1
    decay = 0.3 if path.endswith('/kernel') else 0.0
    wanted = -rate * (np.float64(grads[path]) + decay * params[path])
    np.testing.assert_allclose(update, wanted, rtol=2e-6, err_msg=path)


def test_layer_decay_is_bitwise_the_same_of_stacked_layers():
  optimizer = _config(
    layer_decay=0.7, learning_rate_rules=(('.*/kernel', 0.3), ('.*', 1.1))
  )
  single, stacked = (_vit_updates(optimizer, scan) for scan in (False, True))
  assert single.keys() == stacked.keys()
  for path in single:
    np.testing.assert_array_equal(single[path], stacked[path], err_msg=path)


@pytest.mark.parametrize('scan', [False, True])
def test_no_layer_decay_changes_no_bit(scan):
  none, one, less = (
    _vit_updates(_config(layer_decay=rate), scan) for rate in (None, 1.0, 0.9)
  )
  for path in none:
    np.testing.assert_array_equal(none[path], one[path], err_msg=path)
  assert np.any(none['stem/embedding/bias'] != less['stem/embedding/bias'])
  np.testing.assert_array_equal(none['head/bias'], less['head/bias'])


def test_layer_decay_of_a_model_without_blocks_is_a_user_error():
  with pytest.raises(errors.UserError, match='of which this model has none'):
    optimizers.build(_config(layer_decay=0.7), _tree(0), NUM_STEPS)
