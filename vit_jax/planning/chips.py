"""Accelerators to plan for: memory, speed and price; and topologies of them.

Sources: cloud.google.com/tpu/docs (a page per version), NVIDIA's data sheets
(dense bfloat16); prices, on demand and 'starting at', cloud.google.com/tpu.
"""

import dataclasses
import itertools
import math
import re
from typing import NamedTuple

from vit_jax import errors

GIB = 2**30

# Slices on offer: cloud.google.com/tpu/docs/{v3,v4,v5e,v5p,v6e}, and for cubes
# /types-topologies.
_V3 = ('2x2', '4x4', '4x8', '8x8', '8x16', '16x16', '16x32', '32x32')
_V5E = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
# Below a cube of 4x4x4; above, every A <= B <= C of multiples of 4.
_PARTS_OF_CUBE = ('2x2x1', '2x2x2', '2x2x4', '2x4x4')
_CUBE = 4
_MAX_HINTS = 3  # Slices of as many chips that an error names.


class Chip(NamedTuple):
  """A row of the table.

  Attributes:
    memory: bytes of HBM.
    peak: bfloat16 operations per second.
    slices: how chips may be wired, as '2x4'; (): in any number, no TPU.
    largest: chips in the largest slice of whole cubes; 0: there are none.
    devices: number of JAX devices per chip, which share its memory.
    price: US dollars per hour; None: no list price is known.
  """

  memory: int
  peak: float
  slices: tuple[str, ...] = ()
  largest: int = 0
  devices: int = 1
  price: float | None = None


CHIPS = {
  'v3': Chip(32 * GIB, 123e12, _V3, devices=2),
  # Two cores act as one device.
  'v4': Chip(32 * GIB, 275e12, _PARTS_OF_CUBE, largest=4096, price=3.22),
  'v5e': Chip(16 * GIB, 197e12, _V5E, price=1.20),
  'v5p': Chip(95 * GIB, 459e12, _PARTS_OF_CUBE, largest=6144, price=4.20),
  'v6e': Chip(32 * GIB, 918e12, _V5E, price=2.70),
  'a100': Chip(80 * GIB, 312e12),
  'h100': Chip(80 * GIB, 989e12),
  'h200': Chip(141 * 10**9, 989e12),
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
    return self.chip is not None and bool(self.chip.slices)


def parse(name):
  """Returns the `Topology` of 'v5p:8x8x8', 'h100:64', 'cpu:64' or '64'.

  Raises:
    UserError: no such chip, or there is no such slice of them.
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
  if topology.is_tpu:
    _check_slice(topology)
  elif len(shape) != 1:
    raise errors.UserError(
      f'--topology={name} has a shape, which only TPUs have; give the number '
      f'of devices, as {kind}:{topology.num_chips}.'
    )
  return topology


def _check_slice(topology):
  chip, count = topology.chip, topology.num_chips
  cubes = _cubes(count) if count <= chip.largest else []
  if topology.shape in cubes or _text(topology.shape) in chip.slices:
    return
  listed = ', '.join(chip.slices)
  if chip.largest:
    listed += (
      ', and AxBxC with A <= B <= C, each a multiple of 4, of up to '
      f'{chip.largest:,} chips'
    )
  same = [shape for shape in chip.slices if _size(shape) == count]
  same = [*same, *map(_text, cubes)][:_MAX_HINTS]
  hint = f'Of {count:,} chips: {", ".join(same)}. ' if same else ''
  raise errors.UserError(
    f'--topology={topology.name} is no slice of {topology.kind}. {hint}'
    f'All there are: {listed}.'
  )


def _cubes(count):
  """Returns the slices of `count` chips that whole cubes form, cubic first."""
  sides = [side for side in range(_CUBE, count + 1, _CUBE) if not count % side]
  found = [
    (a, b, count // (a * b))
    for a, b in itertools.combinations_with_replacement(sides, 2)
    if count // (a * b) in sides and a * b * b <= count
  ]
  return sorted(found, key=sum)


def _text(shape):
  return 'x'.join(map(str, shape))


def _size(slice_name):
  return math.prod(map(int, slice_name.split('x')))
