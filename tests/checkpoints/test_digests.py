import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors
from vit_jax.checkpoints import digests


def place(values, spec=(), num_devices=8):
  """Puts an array on a mesh of (rows, columns) devices."""
  devices = np.array(jax.devices()[:num_devices]).reshape(-1, 2)
  mesh = jax.sharding.Mesh(devices, ('a', 'b'))
  return jax.device_put(values, NamedSharding(mesh, PartitionSpec(*spec)))


def digest(values, *args, **kwargs):
  return digests.of({'leaf': place(values, *args, **kwargs)})['leaf']


VALUES = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)


@pytest.mark.parametrize(
  'spec',
  [('a',), ('b',), (None, 'a'), ('a', 'b'), ('b', 'a'), (('a', 'b'),)],
)
def test_how_a_leaf_is_split_makes_no_difference(spec):
  assert digest(VALUES, spec) == digest(VALUES, num_devices=2)


@pytest.mark.parametrize(
  'array',
  [
    VALUES,
    np.float32(3),
    np.ones(5, bool),
    np.arange(6).astype(jnp.bfloat16),
    np.zeros((0, 3), np.int32),
    np.random.default_rng(1).normal(size=(700, 300)).astype(np.float32),
    np.random.default_rng(2).normal(size=(5, 7, 6)).astype(np.float32)[:, ::2],
  ],
)
def test_numpy_gives_the_digest_that_devices_give(array):
  wanted = digests.of({'leaf': place(array, num_devices=2)})['leaf']
  assert digests.of_array(array) == wanted


def test_every_flipped_bit_shows():
  values = VALUES[:2, :2].copy()
  whole = digest(values)
  seen = {whole}
  for row, column, bit in itertools.product(range(2), range(2), range(32)):
    changed = values.copy()
    changed.view(np.uint32)[row, column] ^= np.uint32(1 << bit)
    if np.isfinite(changed).all():
      seen.add(digest(changed))
  assert len(seen) > 100


def test_two_flipped_signs_do_not_cancel():
  changed = VALUES.copy()
  changed[0, :2] *= -1
  assert digest(changed) != digest(VALUES)


def test_two_exchanged_numbers_show():
  changed = VALUES.copy()
  changed[[0, 1]] = changed[[1, 0]]
  assert digest(changed) != digest(VALUES)


@pytest.mark.parametrize(
  'leaf',
  [
    jnp.int32(3),
    jnp.ones(5, bool),
    jnp.arange(6, dtype=jnp.bfloat16),
    jnp.zeros((0, 3)),
    jax.random.key(1),
  ],
)
def test_leaves_of_any_kind_have_a_digest(leaf):
  assert 0 <= digest(leaf) < 2**32


def test_kinds_tell_dtype_and_shape():
  tree = {'a': jnp.zeros((2, 3)), 'b': jax.ShapeDtypeStruct((), jnp.int32)}
  assert digests.kinds(tree) == {'a': 'float32 [2, 3]', 'b': 'int32 []'}


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(value):
  tree = {'a': place(VALUES), 'b': place(np.full((2, 2), value, np.float32))}
  with pytest.raises(errors.UserError, match=r'^b holds numbers that are not'):
    digests.of(tree)


def test_copies_that_differ_are_refused_by_name():
  leaf = place(VALUES)
  copies = [np.array(shard.data) for shard in leaf.addressable_shards]
  copies[3].view(np.uint32)[4, 5] ^= 1
  differing = jax.make_array_from_single_device_arrays(
    leaf.shape,
    leaf.sharding,
    [
      jax.device_put(copy, shard.device)
      for copy, shard in zip(copies, leaf.addressable_shards)
    ],
  )
  with pytest.raises(errors.UserError, match=r'^leaf differs between the dev'):
    digests.of({'leaf': differing})
