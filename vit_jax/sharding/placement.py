"""Where batches and training states lie on the mesh."""

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors, pytrees
from vit_jax.sharding import rules


def batch_sharding(mesh):
  """Returns the sharding of everything whose first dimension is the batch."""
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))


def to_devices(batch, mesh):
  """Makes one global batch of what each process has read.

  Integers of 64 bits, such as `index`, become int32, since JAX holds no others
  by default.

  Args:
    batch: {key: NumPy array [local batch, ...]}, this process's part.
    mesh: the mesh of the run.

  Returns:
    {key: jax.Array [batch, ...]}, split over `data` and `fsdp`.

  Raises:
    UserError: an integer does not fit into 32 bits.
  """
  sharding = batch_sharding(mesh)
  return {
    key: jax.make_array_from_process_local_data(sharding, _narrow(key, values))
    for key, values in batch.items()
  }


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
