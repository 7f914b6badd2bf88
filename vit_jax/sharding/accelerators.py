"""Accelerators: their memory, speed and price.

Sources: cloud.google.com/tpu/docs (a page per version), NVIDIA's data sheets
(dense bfloat16); prices, on demand and 'starting at', cloud.google.com/tpu.
"""

import re
from typing import NamedTuple

GIB = 2**30

# Slices on offer: cloud.google.com/tpu/docs/{v3,v4,v5e,v5p,v6e}, and for cubes
# /types-topologies.
_V3 = ('2x2', '4x4', '4x8', '8x8', '8x16', '16x16', '16x32', '32x32')
_V5E = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
# Below a cube of 4x4x4; above, every A <= B <= C of multiples of 4.
_PARTS_OF_CUBE = ('2x2x1', '2x2x2', '2x2x4', '2x4x4')


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

# What JAX calls a device, as a pattern: its row. Of H100 and H200, cards for
# PCIe are slower than those with SXM, and in no row.
_KINDS = {
  'TPU v3': 'v3',
  'TPU v4': 'v4',
  'TPU v5 lite|TPU v5e': 'v5e',
  'TPU v5|TPU v5p': 'v5p',
  'TPU v6 lite|TPU v6e': 'v6e',
  'NVIDIA A100.*': 'a100',
  'NVIDIA H100 80GB HBM3': 'h100',
  'NVIDIA H200': 'h200',
}


def of_device(device):
  """Returns the `Chip` that a JAX device is or is on; None: it has no row."""
  for pattern, name in _KINDS.items():
    if re.fullmatch(pattern, device.device_kind):
      return CHIPS[name]
  return None
