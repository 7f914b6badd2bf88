"""Where batches and training states lie on the mesh."""

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

  They need not lie side by side: which devices are neighbours in the mesh is
  for their network to say. Where `tensor` is split between processes, several
  of them read the same rows.

  Args:
    mesh: the mesh of the run.
    batch_size: rows of a global batch; divides over `data` x `fsdp`.

  Returns:
    Their numbers, int array [local batch], rising.
  """
  shards = _local_shards(mesh)
  per_shard = batch_size // _num_shards(mesh)
  return (shards[:, None] * per_shard + np.arange(per_shard)).ravel()


def activation_constraint(mesh):
  """Returns a function that maps [batch, ...] to the same, split by examples.

  Without it the compiler may spread `width`, as parameters are, between layers
  that it sees as one loop, and move every token from device to device. A batch
  that does not divide, such as the one image of `init`, is left to it.
  """
  sharding = batch_sharding(mesh)

  def constrain(x):
    if x.shape[0] % _num_shards(mesh):
      return x
    return jax.lax.with_sharding_constraint(x, sharding)

  return constrain


def to_devices(batch, mesh):
  """Makes one global batch of what each process has read.

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
  share = len(_local_shards(mesh)), _num_shards(mesh)

  def place(values):
    batch_size = len(values) // share[0] * share[1]
    return jax.make_array_from_process_local_data(
      sharding, values, (batch_size, *values.shape[1:])
    )

  return {key: place(_narrow(key, values)) for key, values in batch.items()}


def state_shardings(state_shape, mesh):
  """Returns the tree of shardings of a training state.

  Parameters lie as `rules.specs` says. What mirrors a parameter, such as a
  moment, lies as the parameter does: its path ends in the parameter's path and
  its shape is the same. All else, such as the step, is whole on every device.

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
  """Returns the bytes that a device holds of arrays or of their shapes."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def _num_shards(mesh):
  """Returns how many parts a batch is split into."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def _local_shards(mesh):
  """Returns the numbers of the parts that devices of this process hold."""
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
