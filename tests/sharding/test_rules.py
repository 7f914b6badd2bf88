"""Every parameter is split as the papers say, as far as it divides."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from vit_jax import pytrees
from vit_jax.config import schema
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import rules

# Path: shape, what its PartitionSpec should be.
EXPECTED = {
  'class_token': ((1, 1, 8), P(None, None, None)),
  'stem/embedding/kernel': ((2, 2, 3, 8), P(None, None, None, 'fsdp')),
  'stem/embedding/bias': ((8,), P(None)),
  'stem/block_1/unit_1/conv_1/kernel': (
    (1, 1, 4, 8),
    P(None, None, None, 'fsdp'),
  ),
  'stem/block_1/unit_1/norm_1/scale': ((8,), P(None)),
  'encoder/position_embedding/embedding': ((1, 5, 8), P(None, None, None)),
  'encoder/block_0/attention/query/kernel': (
    (8, 4, 2),
    P('fsdp', 'tensor', None),
  ),
  'encoder/block_0/attention/query/bias': ((4, 2), P('tensor', None)),
  'encoder/block_0/attention/out/kernel': (
    (4, 2, 8),
    P('tensor', None, 'fsdp'),
  ),
  'encoder/block_0/attention/out/bias': ((8,), P(None)),
  'encoder/block_0/mlp/hidden/kernel': ((8, 16), P('fsdp', 'tensor')),
  'encoder/block_0/mlp/hidden/bias': ((16,), P('tensor')),
  'encoder/block_0/mlp/out/kernel': ((16, 8), P('tensor', 'fsdp')),
  'encoder/block_0/mlp/out/bias': ((8,), P(None)),
  'encoder/norm/scale': ((8,), P(None)),
  'pooling/probe': ((1, 1, 8), P(None, None, None)),
  'pooling/attention/key/kernel': ((8, 4, 2), P('fsdp', 'tensor', None)),
  'pooling/mlp/hidden/kernel': ((8, 16), P('fsdp', 'tensor')),
  'head_hidden/kernel': ((8, 8), P('fsdp', None)),
  'head/kernel': ((8, 21), P('fsdp', None)),
  'head/bias': ((21,), P(None)),
}


def _mesh(**sizes):
  config = schema.default().mesh
  config.update(sizes)
  return meshes.build(config, jax.devices()[:8])


def _shapes(**changes):
  shapes = {path: shape for path, (shape, _) in EXPECTED.items()} | changes
  return pytrees.unflatten(
    {
      path: jax.ShapeDtypeStruct(shape, np.float32)
      for path, shape in shapes.items()
    }
  )


def test_every_kind_of_parameter_is_split_as_expected():
  specs = pytrees.flatten(rules.specs(_shapes(), _mesh(fsdp=2, tensor=2)))
  assert specs == {path: spec for path, (_, spec) in EXPECTED.items()}


@pytest.mark.parametrize('sizes', [(1, 8, 1), (2, 2, 2), (1, 1, 4), (1, 4, 2)])
def test_arrays_can_be_laid_out_by_the_specs(sizes):
  mesh = _mesh(**dict(zip(meshes.AXES, sizes)))
  shapes = _shapes()
  for path, spec in pytrees.flatten(rules.specs(shapes, mesh)).items():
    shape = pytrees.flatten(shapes)[path].shape
    jax.sharding.NamedSharding(mesh, spec).shard_shape(shape)


def test_an_axis_that_does_not_divide_is_left_out_and_told():
  path = 'encoder/block_0/attention/query/kernel'
  shapes, mesh = _shapes(**{path: (8, 3, 2)}), _mesh(fsdp=2, tensor=2)
  specs = pytrees.flatten(rules.specs(shapes, mesh))
  assert specs[path] == P('fsdp', None, None)
  assert rules.report(shapes, mesh) == [
    f'{path} [8, 3, 2]: tensor=2 does not divide 3; '
    'that dimension is replicated.'
  ]


def test_there_is_nothing_to_tell_where_all_divides():
  assert rules.report(_shapes(), _mesh(fsdp=2, tensor=2)) == []
  assert rules.report(_shapes(), _mesh()) == []


def test_a_rule_for_nothing_is_told_where_its_axes_are_on():
  shapes = {
    path: leaf
    for path, leaf in pytrees.flatten(_shapes()).items()
    if 'mlp' not in path
  }
  lines = rules.report(pytrees.unflatten(shapes), _mesh(tensor=2))
  assert lines == [
    f'The rule .*/mlp/{name} matches no parameter of this model.'
    for name in ('hidden/kernel', 'hidden/bias', 'out/kernel')
  ]
  assert rules.report(pytrees.unflatten(shapes), _mesh()) == []


def test_stacked_blocks_are_split_along_the_same_dimensions():
  path = 'encoder/blocks/attention/query/kernel'
  specs = rules.specs(_shapes(**{path: (12, 8, 4, 2)}), _mesh(fsdp=2, tensor=2))
  assert pytrees.flatten(specs)[path] == P(None, 'fsdp', 'tensor', None)
