"""Shardings of batches and training states on the mesh."""

import math

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors, pytrees
from vit_jax.sharding import rules


def batch_sharding(mesh):
  """Returns the sharding of everything whose first dimension is the batch."""
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))


def local_rows(mesh, batch_size):
  """Returns the rows of a global batch that this process has to read.

  They need not be contiguous: the network decides which devices are neighbours
  in the mesh. Where `tensor` is split between processes, several of them read
  the same rows.

  Args:
    mesh: the mesh of the run.
    batch_size: rows of a global batch; divides over `data` x `fsdp`.

  Returns:
    Their numbers, int array [local batch], increasing.
  """
  shards = _local_shards(mesh)
  per_shard = batch_size // _num_shards(mesh)
  return (shards[:, None] * per_shard + np.arange(per_shard)).ravel()


def activation_constraint(mesh):
  """Returns a function that constrains [batch, ...] to be split by examples.

  Without this sharding constraint the compiler may shard `width`, as in the
  parameters, between layers of a loop, and move every token between devices.
  A batch that does not divide, such as the one image of `init`, is left to it.
  """
  sharding = batch_sharding(mesh)

  def constrain(x):
    if x.shape[0] % _num_shards(mesh):
      return x
    return jax.lax.with_sharding_constraint(x, sharding)

  return constrain


def to_devices(batch, mesh):
  """Assembles a global batch from what each process has read.

  Integers of 64 bits, such as `index`, become int32, since JAX holds no others
  by default.

  Args:
    batch: {key: NumPy array [local batch, ...]}, the rows of `local_rows`.
    mesh: the mesh of the run.

  Returns:
    {key: jax.Array [batch, ...]}, split over `data` and `fsdp`.

  Raises:
    UserError: an integer does not fit into 32 bits.
  """
  sharding = batch_sharding(mesh)
  num_local, num_shards = len(_local_shards(mesh)), _num_shards(mesh)

  def place(values):
    batch_size = len(values) // num_local * num_shards
    return jax.make_array_from_process_local_data(
      sharding, values, (batch_size, *values.shape[1:])
    )

  return {key: place(_narrow(key, values)) for key, values in batch.items()}


def put(array, sharding):
  """Places an array that every process holds whole; each copies its parts."""
  return jax.make_array_from_callback(
    array.shape, sharding, lambda index: array[index]
  )


def state_shardings(state_shape, mesh):
  """Returns the tree of shardings of a training state.

  Parameters are sharded by `rules.specs`. What mirrors a parameter, such as a
  moment, is sharded as the parameter is: its path ends in the parameter's path
  and its shape is the same. All else, such as the step, is replicated.

  Args:
    state_shape: tree of shapes, with the parameters as its `params`.
    mesh: the mesh of the run.
  """
  specs = pytrees.flatten(rules.specs(state_shape.params, mesh))
  shapes = {
    path: leaf.shape
    for path, leaf in pytrees.flatten(state_shape.params).items()
  }

  def sharding(path, leaf):
    parts = path.split('/')
    suffixes = ('/'.join(parts[i:]) for i in range(len(parts)))
    mirrored = next((end for end in suffixes if end in shapes), None)
    same = mirrored is not None and shapes[mirrored] == leaf.shape
    return NamedSharding(mesh, specs[mirrored] if same else PartitionSpec())

  return pytrees.map_with_path(sharding, state_shape)


def bytes_per_device(tree):
  """Returns the bytes per device of arrays or of their shapes."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def _num_shards(mesh):
  """Returns how many shards a batch is split into."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def _local_shards(mesh):
  """Returns the numbers of the shards on devices of this process."""
  held = batch_sharding(mesh).addressable_devices_indices_map(
    (_num_shards(mesh),)
  )
  return np.unique([index.start or 0 for (index,) in held.values()])


def _narrow(key, values):
  if values.dtype != np.int64:
    return values
  narrow = values.astype(np.int32)
  if not np.array_equal(narrow, values):
    raise errors.UserError(
      f'{key!r} of a batch holds {np.abs(values).max()}, which does not fit '
      'into 32 bits; leave it out of the batch or number it from 0.'
    )
  return narrow
