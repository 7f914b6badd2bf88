"""Topologies to plan for: chips of one kind, and how they are wired."""

import dataclasses
import itertools
import math
import re

from vit_jax import errors
from vit_jax.sharding import accelerators

_CUBE = 4  # Chips along each side of the blocks that large slices consist of.
_MAX_HINTS = 3  # Slices of as many chips that an error names.


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
      f'The chips: {", ".join(accelerators.CHIPS)}, cpu.'
    )
  kind = match[1] or 'cpu'
  shape = tuple(int(size) for size in match[2].split('x'))
  if kind != 'cpu':
    errors.choose('The chip of --topology', kind, accelerators.CHIPS)
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
