import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vit_jax import errors, pytrees

TREE = {
  'encoder': {
    'block_0': {'mlp': {'kernel': 1, 'bias': 2}},
    'block_1': {'mlp': {'kernel': 3, 'bias': 4}},
  },
  'head': {'kernel': 5},
}


def test_flatten_names_leaves_by_path():
  assert pytrees.flatten(TREE)['encoder/block_1/mlp/kernel'] == 3
  assert len(pytrees.flatten(TREE)) == 5


def test_unflatten_undoes_flatten():
  assert pytrees.unflatten(pytrees.flatten(TREE)) == TREE


def test_lists_and_dataclasses_have_paths_too():
  @flax.struct.dataclass
  class State:
    params: dict

  tree = {'states': [State({'w': 1}), State({'w': 2})]}
  assert pytrees.flatten(tree) == {
    'states/0/params/w': 1,
    'states/1/params/w': 2,
  }


def test_map_with_path_sees_paths_and_every_tree():
  doubled = pytrees.map_with_path(
    lambda path, leaf, other: (path[-4:], leaf + other), TREE, TREE
  )
  assert doubled['head']['kernel'] == ('rnel', 10)
  assert doubled['encoder']['block_0']['mlp']['bias'] == ('bias', 4)


def test_the_first_rule_that_matches_counts():
  rules = (('.*/block_0/.*', 0.0), ('.*/kernel', 1.0), ('.*', 2.0))
  assert pytrees.flatten(pytrees.match(rules, TREE, 'decay')) == {
    'encoder/block_0/mlp/kernel': 0.0,
    'encoder/block_0/mlp/bias': 0.0,
    'encoder/block_1/mlp/kernel': 1.0,
    'encoder/block_1/mlp/bias': 2.0,
    'head/kernel': 1.0,
  }


def test_a_rule_matches_whole_paths_only():
  with pytest.raises(errors.UserError, match='nothing in it matches head/ker'):
    pytrees.match((('encoder/.*', 1), ('kernel', 1), ('head', 1)), TREE, 'x')


def test_every_path_without_a_rule_is_listed():
  with pytest.raises(errors.UserError) as info:
    pytrees.match((('.*/kernel', 1),), TREE, 'optimizer.decay_rules')
  message = str(info.value)
  assert message.startswith('optimizer.decay_rules must cover every parameter')
  assert 'encoder/block_0/mlp/bias, encoder/block_1/mlp/bias.' in message


def test_a_broken_pattern_is_named():
  with pytest.raises(errors.UserError, match=r"rules: .* in '\*\.'"):
    pytrees.match((('*.', 1),), TREE, 'rules')


def test_values_of_rules_may_be_anything():
  matched = pytrees.match((('.*', ('fsdp', None)),), {'w': 1}, 'rules')
  assert matched == {'w': ('fsdp', None)}


def test_match_keeps_the_structure_of_arrays():
  tree = {'a': jnp.ones((2, 3)), 'b': {'c': np.zeros(1)}}
  assert pytrees.match((('.*', True),), tree, 'rules') == {
    'a': True,
    'b': {'c': True},
  }


def test_diff_tells_both_ways_sorted():
  given = {'same': 1, 'b': (2,), 'a_extra': 3}
  wanted = {'same': 1, 'b': (4,), 'c_missing': 5}
  assert pytrees.diff(given, wanted) == [
    '- a_extra: 3 (not wanted)',
    '! b: (2,) (wanted: (4,))',
    '+ c_missing: 5 (missing)',
  ]


def test_equal_trees_have_no_diff():
  flat = pytrees.flatten(TREE)
  assert pytrees.diff(flat, dict(reversed(flat.items()))) == []


def as_lists(tree):
  flat = pytrees.flatten(tree)
  return {path: np.asarray(leaf).tolist() for path, leaf in flat.items()}


def test_stacking_can_be_undone_anywhere_in_a_tree():
  block = {'mlp': {'kernel': np.arange(6.0).reshape(2, 3)}, 'bias': np.ones(2)}
  single = {
    'stem': {'block_1': {'kernel': np.ones(3)}},  # Of a ResNet: no layers.
    'encoder': {
      f'block_{layer}': jax.tree.map(lambda leaf, n=layer: leaf + n, block)
      for layer in range(11)
    },
  }
  tree = (np.int32(3), {'mu': single}, None)
  stacked = pytrees.stack(tree)
  assert stacked[1]['mu']['encoder']['blocks']['bias'].shape == (11, 2)
  assert stacked[1]['mu']['stem'].keys() == {'block_1'}
  back = pytrees.unstack(stacked)
  assert pytrees.diff(*map(as_lists, (back, tree))) == []
  assert jax.tree.structure(back) == jax.tree.structure(tree)
  assert pytrees.are_stacked(stacked) and not pytrees.are_stacked(tree)


def test_shapes_are_stacked_with_their_shardings():
  mesh = Mesh(np.array(jax.devices()[:2]), ('fsdp',))
  leaf = jax.ShapeDtypeStruct(
    (4, 6), np.float32, sharding=NamedSharding(mesh, PartitionSpec('fsdp'))
  )
  single = {'block_0': {'kernel': leaf}, 'block_1': {'kernel': leaf}}
  stacked = pytrees.stack(single)
  (shape,) = jax.tree.leaves(stacked)
  assert shape.shape == (2, 4, 6)
  assert shape.sharding.spec == PartitionSpec(None, 'fsdp')
  assert pytrees.unstack(stacked) == single
