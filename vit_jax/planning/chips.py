"""Topologies to plan for: chips of one kind, and how they are wired."""

import dataclasses
import math
import re

from vit_jax import errors
from vit_jax.sharding import accelerators


@dataclasses.dataclass(frozen=True)
class Topology:
  """Chips of one kind and how they are wired.

  Attributes:
    name: as the user wrote it.
    kind: a name in `accelerators.CHIPS`, or 'cpu'.
    shape: chips along each dimension of the network.
  """

  name: str
  kind: str
  shape: tuple[int, ...]

  @property
  def chip(self):
    """The `accelerators.Chip`; None for a CPU: its specifications vary."""
    return accelerators.CHIPS.get(self.kind)

  @property
  def num_chips(self):
    return math.prod(self.shape)

  @property
  def num_devices(self):
    """How many devices JAX would see."""
    return self.num_chips * (self.chip.devices if self.chip else 1)

  @property
  def device_memory(self):
    """Bytes of memory of a device; None: unknown."""
    return self.chip.memory // self.chip.devices if self.chip else None

  @property
  def is_tpu(self):
    return self.chip is not None and self.chip.dimensions is not None


def parse(name):
  """Returns the `Topology` of 'v5p:8x8x8', 'h100:64', 'cpu:64' or '64'.

  Raises:
    UserError: no such chip, or its chips can't be wired so.
  """
  match = re.fullmatch(r'(?:(\w+):)?([1-9]\d*(?:x[1-9]\d*)*)', name)
  if not match:
    raise errors.UserError(
      f'--topology={name} is neither CHIP:SHAPE, as v5p:8x8x8, nor '
      'CHIP:NUMBER, as h100:64, nor a number. '
      f'The chips: {", ".join(accelerators.CHIPS)}, cpu.'
    )
  kind = match[1] or 'cpu'
  shape = tuple(int(size) for size in match[2].split('x'))
  if kind != 'cpu':
    errors.choose('The chip of --topology', kind, accelerators.CHIPS)
  topology = Topology(name, kind, shape)
  dimensions = topology.chip.dimensions if topology.is_tpu else 1
  if len(shape) != dimensions:
    like = 'x'.join(['4'] * dimensions)
    raise errors.UserError(
      f'--topology={name} has {len(shape)} dimension(s); {kind} needs '
      f'{dimensions}, as {kind}:{like}.'
    )
  return topology
