"""One mesh of devices whose axis sizes are the parallelism strategy.

`data` splits the batch, `fsdp` the batch and every kernel, `tensor` heads and
hidden units; an axis of size 1 is off.
"""

import math

import jax
import numpy as np
from jax.experimental import mesh_utils

from vit_jax import errors
from vit_jax.config import schema

AXES = ('data', 'fsdp', 'tensor')

# Auto: the compiler shards whatever has no sharding of ours. The other type,
# Explicit, would need a sharding for every operation.
_TYPES = (jax.sharding.AxisType.Auto,) * len(AXES)


def build(mesh, devices=None):
  """Returns the `jax.sharding.Mesh` of a run, with the axes `AXES`.

  Args:
    mesh: the part `mesh` of the configuration.
    devices: devices to use; None: all there are, over all processes.

  Raises:
    UserError: the sizes don't go with the number of devices, or leave out
      devices of a run on several hosts.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = schema.mesh_sizes(mesh, len(devices))
  shape = tuple(sizes[axis] for axis in AXES)
  used = math.prod(shape)
  if used < len(devices) and len({d.process_index for d in devices}) > 1:
    raise errors.UserError(
      f'A mesh of data={shape[0]} x fsdp={shape[1]} x tensor={shape[2]} uses '
      f'{used} of {len(devices)} devices; a run on several hosts must use '
      'all of them, as mesh.data=-1 does.'
    )
  return jax.sharding.Mesh(arrange(shape, devices[:used]), AXES, _TYPES)


def devices():
  """Returns the devices of all processes.

  Raises:
    UserError: the requested platform is missing.
  """
  try:
    return jax.devices()
  except (RuntimeError, AssertionError) as error:  # The latter for no CUDA.
    raise errors.UserError(
      f'JAX finds no device. {error} Unset JAX_PLATFORMS to use what there '
      'is, or install the extra vit_jax[cuda] or vit_jax[tpu].'
    ) from error


def platform(mesh):
  """Returns the platform of the devices of a mesh, e.g. 'gpu'.

  Args:
    mesh: a `jax.sharding.Mesh`, or an abstract one, which has none: None.
  """
  if isinstance(mesh, jax.sharding.AbstractMesh):
    return None
  return mesh.devices.flat[0].platform


def abstract(mesh, num_devices):
  """Returns a mesh without devices, for planning.

  Raises:
    UserError: the sizes don't go with the number of devices.
  """
  sizes = schema.mesh_sizes(mesh, num_devices)
  return jax.sharding.AbstractMesh(
    tuple(sizes[axis] for axis in AXES), AXES, _TYPES
  )


def arrange(shape, devices):
  """Returns devices as an array of `shape`, neighbours on a fast network.

  Where devices form several slices (TPU slices, or hosts with GPUs), `data` is
  split between slices first, then `fsdp`, and `tensor`, which communicates the
  most, last.

  Args:
    shape: sizes of `AXES`; their product is the number of devices.
    devices: devices, in any order.
  """
  num_slices = len({getattr(d, 'slice_index', None) for d in devices})
  if num_slices == 1:
    return mesh_utils.create_device_mesh(
      shape, devices, allow_split_physical_axes=True
    )
  outer = []
  remaining = num_slices
  for size in shape:
    outer.append(math.gcd(size, remaining))
    remaining //= outer[-1]
  return mesh_utils.create_hybrid_device_mesh(
    tuple(np.array(shape) // outer),
    tuple(outer),
    devices,
    allow_split_physical_axes=True,
  )
