"""Topologies for ahead-of-time compilation; nothing can run on them."""

import contextlib
import importlib.metadata
import importlib.util
import os

import jax
from jax.experimental import topologies

from vit_jax import errors

# For libtpu: it must not query the network for the type of this machine, which
# is no TPU, nor keep other processes from compiling.
_ENVIRONMENT = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v4-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


def has_tpu_compiler():
  """Returns whether libtpu is installed, which compiles for TPUs anywhere."""
  return importlib.util.find_spec('libtpu') is not None


def tpu_compiler():
  """Returns name and version of the compiler for TPUs."""
  return f'libtpu {importlib.metadata.version("libtpu")}'


def tpu(name, **options):
  """Returns the devices of a slice such as v5p:8x8x8.

  Args:
    name: version, and chips along each dimension.
    **options: for libtpu, such as chip_config_name.

  Raises:
    UserError: libtpu knows no such slice.
  """
  for variable, value in _ENVIRONMENT.items():
    os.environ.setdefault(variable, value)
  try:
    return topologies.get_topology_desc(
      platform='tpu', topology_name=name, **options
    ).devices
  except jax.errors.JaxRuntimeError as error:
    raise errors.UserError(
      f'The compiler for TPUs refuses --topology={name}: {error}'
    ) from error


def host(count):
  """Returns `count` devices emulated on this machine's CPU.

  Raises:
    UserError: JAX is already initialized, with fewer.
  """
  # Raised if JAX is already initialized, perhaps with enough devices.
  with contextlib.suppress(RuntimeError):
    jax.config.update('jax_num_cpu_devices', count)
  devices = jax.devices('cpu')
  if len(devices) < count:
    raise errors.UserError(
      f'{count} devices are to be emulated on the CPU and JAX is initialized '
      f'with {len(devices)}; set JAX_NUM_CPU_DEVICES={count} in the '
      'environment.'
    )
  return devices[:count]
