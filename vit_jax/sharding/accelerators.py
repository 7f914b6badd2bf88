"""Accelerators: their memory, speed and price.

Sources: cloud.google.com/tpu/docs (a page per version), NVIDIA's data sheets
(dense bfloat16); prices, on demand and 'starting at', cloud.google.com/tpu.
"""

import re
from typing import NamedTuple

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
