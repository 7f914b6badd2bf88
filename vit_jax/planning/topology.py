"""Devices one does not own, to compile for: nothing can run on them."""

import contextlib
import importlib.metadata
import importlib.util
import os

import jax
from jax.experimental import topologies

from vit_jax import errors

# Of libtpu: it shall not ask the network which TPU this machine is, since it is
# none, nor keep other processes from compiling.
_ENVIRONMENT = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v4-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


def has_tpu_compiler():
  """Whether libtpu is installed, which compiles for TPUs on any machine."""
  return importlib.util.find_spec('libtpu') is not None


def tpu_compiler():
  """Returns name and version of the compiler for TPUs."""
  return f'libtpu {importlib.metadata.version("libtpu")}'


def tpu(name, **options):
  """Returns the devices of a slice such as v5p:8x8x8.

  Args:
    name: version, and chips along each dimension.
    **options: of libtpu, such as chip_config_name.

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
  """Returns `count` devices that this machine's CPU plays.

  Raises:
    UserError: JAX has started already, with fewer.
  """
  with contextlib.suppress(
    RuntimeError
  ):  # It has started, perhaps with enough.
    jax.config.update('jax_num_cpu_devices', count)
  devices = jax.devices('cpu')
  if len(devices) < count:
    raise errors.UserError(
      f'{count} devices are to be played by the CPU and JAX has started with '
      f'{len(devices)}; JAX_NUM_CPU_DEVICES={count} in the environment '
      'gives as many.'
    )
  return devices[:count]
