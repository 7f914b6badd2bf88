"""A training step compiled ahead of time for devices that need not be present.

It shows before a launch whether the run fits into the memory of a device, what
the devices send each other, and how much time and money the run will take.
"""

import dataclasses
import re
import time

import jax

from vit_jax.data import sources
from vit_jax.nn import flop_count
from vit_jax.planning import (
  chips,
  collectives,
  compiled_cost,
  mesh_search,
  report,
)
from vit_jax.planning import topology as topologies
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import assembly

MFU = 0.4  # Of the chips' peak; what large ViTs typically reach.

_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is known of a run before it starts; bytes are per device.

  Attributes:
    config: of the run.
    topology: the `chips.Topology`.
    mesh: {axis: size}.
    num_params: parameters of the model.
    params_bytes: of the parameters.
    optimizer_bytes: of all else that the training state holds.
    flops: of a step, on all devices, as `flop_count` counts.
    compiler: its name.
    seconds: time to compile.
    memory: a `compiled_cost.Memory`; None: the compiler ran out of memory.
    needed: bytes in all, by the compiler.
    capacity: bytes available; None: unknown.
    traffic: what `collectives.traffic` returns.
  """

  config: object
  topology: chips.Topology
  mesh: dict
  num_params: int
  params_bytes: int
  optimizer_bytes: int
  flops: int
  compiler: str
  seconds: float
  memory: compiled_cost.Memory | None
  needed: int
  capacity: int | None
  traffic: dict

  @property
  def fits(self):
    return self.memory is not None and (
      self.capacity is None or self.needed <= self.capacity
    )


def run(config, topology, mesh=None, mfu=None, price=None):
  """Returns what `vit_jax plan` prints, and whether the run fits.

  Args:
    config: what `recipes.load` returns.
    topology: e.g. v5p:8x8x8, h100:64 or 64.
    mesh: 'auto' searches for the cheapest that fits; None: as configured.
    mfu: fraction of the chips' peak that model FLOPs will reach; None: 0.4.
    price: US dollars per chip and hour; None: the list price.

  Raises:
    UserError: the configuration is invalid or does not fit the devices, or
      there are no such chips.
  """
  topology, mfu = chips.parse(topology), mfu or MFU
  assembly.validate(config, topology.num_devices)
  _devices(topology)  # First: whatever asks JAX for devices would fix them.
  if mesh is None:
    made = make(config, topology)
    return report.text(made, mfu, price), made.fits
  found, candidates = search(config, topology)
  table = report.candidates_table(candidates)
  if found is None:
    return table, False
  return f'{table}\n\n{report.text(found, mfu, price)}', True


def search(config, topology):
  """Returns the cheapest `Plan` that fits, or None, and all candidates.

  Errors are those of `mesh_search.search`.
  """
  return mesh_search.search(
    config,
    topology.num_devices,
    topology.device_memory,
    lambda config: _state_bytes(config, topology.num_devices),
    lambda config: make(config, topology),
  )


def make(config, topology):
  """Compiles the training step of `config` and returns its `Plan`.

  Raises:
    UserError: the mesh does not fit the number of devices.
  """
  devices = _devices(topology)
  mesh = meshes.build(config.mesh, devices)
  components = assembly.build(config, sources.num_classes(config.data), mesh)
  began = time.monotonic()
  memory, needed, traffic = None, None, {}
  capacity = topology.device_memory
  try:
    compiled = components.lower_train_step(config.run).compile()
  except jax.errors.JaxRuntimeError as error:
    needed, capacity = _out_of_memory(
      error, placement.bytes_per_device(components.state)
    )
  else:
    memory = compiled_cost.memory(compiled)
    needed = memory.total
    traffic = collectives.traffic(compiled.as_text())
  params_bytes = placement.bytes_per_device(components.state.params)
  return Plan(
    config=config,
    topology=topology,
    mesh=dict(mesh.shape),
    num_params=sum(
      leaf.size for leaf in jax.tree.leaves(components.state.params)
    ),
    params_bytes=params_bytes,
    optimizer_bytes=placement.bytes_per_device(components.state) - params_bytes,
    flops=_flops(config, components),
    compiler=_compiler(devices),
    seconds=time.monotonic() - began,
    memory=memory,
    needed=needed,
    capacity=capacity,
    traffic=traffic,
  )


def _state_bytes(config, num_devices):
  """Returns the bytes per device of a training state, without compiling it."""
  mesh = meshes.abstract(config.mesh, num_devices)
  components = assembly.build(config, sources.num_classes(config.data), mesh)
  return placement.bytes_per_device(components.state)


def _devices(topology):
  """Returns the devices of a topology, or CPU devices in place of them."""
  if not (topology.is_tpu and topologies.has_tpu_compiler()):
    return topologies.host(topology.num_devices)
  # The two cores of a v4 work as one device.
  options = {'chip_config_name': 'megacore'} if topology.kind == 'v4' else {}
  return topologies.tpu(topology.name, **options)


def _compiler(devices):
  kind = devices[0].platform
  return topologies.tpu_compiler() if kind == 'tpu' else 'XLA for CPU'


def _flops(config, components):
  return config.run.batch_size * flop_count.training_flops(
    components.objective.predict,
    components.state.params,
    components.one_image(),
  )


def _out_of_memory(error, state_bytes):
  """Returns the bytes needed and available, as in a compiler's error.

  It gives both in this order; those of temporaries alone where they are too
  many without the training state.
  """
  sizes = re.findall(r'([\d.]+)([KMGT])\b', str(error))
  if 'RESOURCE_EXHAUSTED' not in str(error) or len(sizes) < 2:
    raise error
  needed, capacity = (
    int(float(number) * _UNITS[unit]) for number, unit in sizes[:2]
  )
  if 'temporaries' in str(error):
    needed += state_bytes
  return needed, capacity
