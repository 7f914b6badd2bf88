"""Batches and states lie where they should, and hold what they held."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from vit_jax import errors, pytrees
from vit_jax.config import schema
from vit_jax.data import batch as batches
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement


@flax.struct.dataclass
class State:
  step: jax.Array
  rng: jax.Array
  params: dict
  opt_state: optax.OptState


def _mesh(**sizes):
  config = schema.default().mesh
  config.update(sizes)
  return meshes.build(config, jax.devices()[:8])


def _batch(size=16):
  rng = np.random.default_rng(0)
  return {
    'image': rng.integers(0, 256, (size, 4, 4, 3), dtype=np.uint8),
    'label': rng.integers(0, 9, size).astype(np.int32),
    'mask': rng.random(size) < 0.5,
    'index': np.arange(size, dtype=np.int64) - 1,
  }


def _init():
  shapes = {
    'encoder/block_0/mlp/hidden/kernel': (8, 16),
    'encoder/block_0/mlp/hidden/bias': (16,),
    'head/kernel': (8, 3),
    'head/bias': (3,),
  }
  params = pytrees.unflatten(
    {path: jnp.ones(shape) for path, shape in shapes.items()}
  )
  optimizer = optax.chain(
    optax.masked(
      optax.scale_by_adam(), lambda tree: jax.tree.map(lambda _: True, tree)
    ),
    optax.scale_by_schedule(lambda step: step),
  )
  return State(
    jnp.zeros([], int), jax.random.key(0), params, optimizer.init(params)
  )


def test_a_batch_is_split_over_data_and_fsdp_and_keeps_its_values():
  batch, mesh = _batch(), _mesh(fsdp=2, tensor=2)
  placed = placement.to_devices(batch, mesh)
  assert tuple(placed) == batches.KEYS
  for key, array in placed.items():
    np.testing.assert_array_equal(array, batch[key])
    assert array.sharding == placement.batch_sharding(mesh)
    assert {s.data.shape[0] for s in array.addressable_shards} == {4}


def test_dtypes_stay_but_for_the_index():
  placed = placement.to_devices(_batch(), _mesh())
  dtypes = {key: array.dtype for key, array in placed.items()}
  assert dtypes == {
    'image': np.uint8,
    'label': np.int32,
    'mask': bool,
    'index': np.int32,
  }


def test_an_index_of_more_than_32_bits_is_a_user_error():
  batch = _batch()
  batch['index'][3] = 2**31
  with pytest.raises(errors.UserError, match=r"'index'.* 2147483648"):
    placement.to_devices(batch, _mesh())


def test_moments_lie_as_their_parameters_and_the_rest_everywhere():
  mesh = _mesh(fsdp=2, tensor=2)
  shardings = placement.state_shardings(jax.eval_shape(_init), mesh)
  flat = pytrees.flatten(shardings)
  for path, spec in {
    'encoder/block_0/mlp/hidden/kernel': P('fsdp', 'tensor'),
    'encoder/block_0/mlp/hidden/bias': P('tensor'),
    'head/kernel': P('fsdp', None),
    'head/bias': P(None),
  }.items():
    found = [flat[key].spec for key in flat if key.endswith(path)]
    assert found == [spec] * 3  # The parameter and Adam's two moments.
  scalars = [key for key in flat if key.split('/')[-1] in ('step', 'count')]
  assert len(scalars) == 3
  assert {flat[key].spec for key in [*scalars, 'rng']} == {P()}


def test_a_state_is_made_in_its_place():
  shape = jax.eval_shape(_init)
  shardings = placement.state_shardings(shape, _mesh(fsdp=4, tensor=2))
  state = jax.jit(_init, out_shardings=shardings)()
  kernel = state.params['encoder']['block_0']['mlp']['hidden']['kernel']
  assert {s.data.shape for s in kernel.addressable_shards} == {(2, 8)}


def test_what_has_the_path_of_a_parameter_but_another_shape_is_whole():
  state = jax.eval_shape(_init)
  rows = {'head': {'kernel': jax.ShapeDtypeStruct((8,), np.float32)}}
  state = state.replace(opt_state=rows)
  shardings = placement.state_shardings(state, _mesh(fsdp=2))
  assert shardings.opt_state['head']['kernel'].spec == P()
