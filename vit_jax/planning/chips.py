"""Accelerators to plan for: memory, speed and price; and topologies of them.

Sources: cloud.google.com/tpu/docs (a page per version), NVIDIA's data sheets
(dense bfloat16); prices, on demand and 'starting at', cloud.google.com/tpu.
"""

import dataclasses
import math
import re
from typing import NamedTuple

from vit_jax import errors

GIB = 2**30


class Chip(NamedTuple):
  """A row of the table.

  Attributes:
    memory: bytes of HBM.
    peak: bfloat16 operations per second.
    dimensions: of the network between chips; None: it is not a torus.
    devices: number of JAX devices per chip, which share its memory.
    price: US dollars per hour; None: no list price is known.
  """

  memory: int
  peak: float
  dimensions: int | None
  devices: int = 1
  price: float | None = None


CHIPS = {
  'v3': Chip(32 * GIB, 123e12, 2, devices=2),
  'v4': Chip(32 * GIB, 275e12, 3, price=3.22),  # Two cores act as one device.
  'v5e': Chip(16 * GIB, 197e12, 2, price=1.20),
  'v5p': Chip(95 * GIB, 459e12, 3, price=4.20),
  'v6e': Chip(32 * GIB, 918e12, 2, price=2.70),
  'a100': Chip(80 * GIB, 312e12, None),
  'h100': Chip(80 * GIB, 989e12, None),
  'h200': Chip(141 * 10**9, 989e12, None),
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """Chips of one kind and how they are wired.

  Attributes:
    name: as the user wrote it.
    kind: a name in `CHIPS`, or 'cpu'.
    shape: chips along each dimension of the network.
  """

  name: str
  kind: str
  shape: tuple[int, ...]

  @property
  def chip(self):
    """The `Chip`; None for a CPU, whose specifications are unknown."""
    return CHIPS.get(self.kind)

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
      f'The chips: {", ".join(CHIPS)}, cpu.'
    )
  kind = match[1] or 'cpu'
  shape = tuple(int(size) for size in match[2].split('x'))
  if kind != 'cpu':
    errors.choose('The chip of --topology', kind, CHIPS)
  topology = Topology(name, kind, shape)
  dimensions = topology.chip.dimensions if topology.is_tpu else 1
  if len(shape) != dimensions:
    like = 'x'.join(['4'] * dimensions)
    raise errors.UserError(
      f'--topology={name} has {len(shape)} dimension(s); {kind} needs '
      f'{dimensions}, as {kind}:{like}.'
    )
  return topology
