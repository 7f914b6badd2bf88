"""Rules cover every parameter, with values that fit."""

import numpy as np
import pytest

from vit_jax import errors, pytrees
from vit_jax.training.optim import parameter_groups

PATHS = (
  'class_token',
  'stem/embedding/kernel',
  'encoder/position_embedding/embedding',
  'encoder/block_0/mlp/hidden/kernel',
  'encoder/block_1/mlp/hidden/kernel',
  'encoder/block_11/mlp/hidden/kernel',
  'encoder/norm/scale',
  'pooling/probe',
  'head/bias',
)


def _params():
  return pytrees.unflatten({path: np.zeros(2) for path in PATHS})


def test_the_first_rule_that_matches_counts():
  rules = (('head/.*', 3), ('.*/kernel', 2.0), ('.*', 0))
  values = parameter_groups.multipliers('rules', rules, _params())
  assert values == {
    path: 3 if path == 'head/bias' else 2.0 * path.endswith('kernel')
    for path in PATHS
  }


def test_uncovered_parameters_are_named():
  rules = (('(class_token|stem|encoder).*', 1.0),)
  with pytest.raises(
    errors.UserError, match=r'decay.*head/bias, pooling/probe'
  ):
    parameter_groups.multipliers('decay', rules, _params())


def test_a_rule_for_nothing_is_named():
  rules = (('heads/.*', False), ('.*', True))
  with pytest.raises(errors.UserError, match=r"'heads/\.\*' matches no"):
    parameter_groups.trainable('trainable', rules, _params())


@pytest.mark.parametrize('value', [-0.1, 'much', None])
def test_a_multiplier_is_a_number_of_at_least_zero(value):
  with pytest.raises(errors.UserError, match='number of at least 0'):
    parameter_groups.multipliers('decay', (('.*', value),), _params())


def test_trainable_keeps_the_structure():
  rules = (('head/.*', True), ('.*', False))
  tree = parameter_groups.trainable('trainable', rules, _params())
  expected = {path: path == 'head/bias' for path in PATHS}
  assert tree == pytrees.unflatten(expected)


def test_trainable_takes_bools_only():
  with pytest.raises(errors.UserError, match=r'True .* or False'):
    parameter_groups.trainable('trainable', (('.*', 1.0),), _params())


def test_something_must_be_trained():
  with pytest.raises(errors.UserError, match='freezes every parameter'):
    parameter_groups.trainable('trainable', (('.*', False),), _params())


def test_layerwise_decay_grows_by_a_constant_factor_per_layer():
  layer_of = {
    'class_token': 0,
    'stem/embedding/kernel': 0,
    'encoder/position_embedding/embedding': 0,
    **{f'encoder/block_{i}/mlp/hidden/kernel': i + 1 for i in range(12)},
    'encoder/norm/scale': 13,
    'pooling/probe': 13,
    'head/bias': 13,
  }
  rules = parameter_groups.layerwise_decay(12, 0.5)
  params = pytrees.unflatten({path: np.zeros(2) for path in layer_of})
  values = parameter_groups.multipliers('rates', rules, params)
  assert values == {path: 0.5 ** (13 - layer_of[path]) for path in layer_of}


def test_layerwise_decay_of_too_few_blocks_leaves_parameters_uncovered():
  rules = parameter_groups.layerwise_decay(2, 0.5)
  with pytest.raises(errors.UserError, match='block_11/mlp/hidden/kernel'):
    parameter_groups.multipliers('rates', rules, _params())


@pytest.mark.parametrize('rate', [0, -1, 1.1])
def test_a_layerwise_rate_is_above_zero_and_at_most_one(rate):
  with pytest.raises(errors.UserError, match=f'decay of {rate} does not fit'):
    parameter_groups.layerwise_decay(2, rate)


# Layers in a loop ------------------------------------------------------------


def _stacked():
  params = _params()
  del params['encoder']['block_11']
  return params, pytrees.stack(params)


def test_stacked_layers_go_by_their_own_paths():
  rules = (('encoder/block_1/.*', 0.5), ('.*/kernel', 2.0), ('.*', 1.0))
  single, stacked = _stacked()
  wanted = parameter_groups.multipliers('rules', rules, single)
  given = parameter_groups.multipliers('rules', rules, stacked)
  both = given.pop('encoder/blocks/mlp/hidden/kernel')
  assert both.dtype == np.float32 and both.shape == (2, 1)
  assert both.ravel().tolist() == [
    wanted.pop(f'encoder/block_{layer}/mlp/hidden/kernel') for layer in (0, 1)
  ]
  assert given == wanted


def test_what_is_the_same_in_all_layers_is_one_number():
  rules = (('encoder/block_.*', 0.5), ('.*', 1.0))
  values = parameter_groups.multipliers('rules', rules, _stacked()[1])
  assert values['encoder/blocks/mlp/hidden/kernel'] == 0.5


def test_stacked_layers_are_frozen_together_or_not_at_all():
  _, stacked = _stacked()
  rules = (('encoder/block_.*', False), ('.*', True))
  tree = parameter_groups.trainable('trainable', rules, stacked)
  flat = pytrees.flatten(tree)
  assert [path for path in flat if not flat[path]] == [
    'encoder/blocks/mlp/hidden/kernel'
  ]
  rules = (('encoder/block_0/.*', False), ('.*', True))
  with pytest.raises(errors.UserError, match=r'trainable .*model.scan=False'):
    parameter_groups.trainable('trainable', rules, stacked)
