"""Attention weights in few bytes: whole numbers on a square-root scale.

A row of weights, those of one query, is stored as its largest weight and a code
for each of them: weight = largest * (code / levels) ** 2. Small weights, of
which attention has most, are so kept more exactly than large ones. The codes
are deflated, which browsers undo (DecompressionStream).
"""

import zlib
from typing import NamedTuple

import numpy as np


class Packed(NamedTuple):
  """Deflated rows, and how far they are from those that were given.

  data: zlib's bytes of float32 [rows] largest weights, little-endian, and then
    uint8 [rows, tokens] codes.
  error: the largest difference to a given weight.
  """

  data: bytes
  error: float


def pack(weights, levels):
  """Returns the `Packed` of weights.

  Args:
    weights: float32 [..., tokens], not negative.
    levels: the largest code, up to 255. A weight is off by no more than
      `bound(levels)` of the largest of its row.
  """
  rows = np.ascontiguousarray(weights, np.float32)
  rows = rows.reshape(-1, rows.shape[-1])
  largest = rows.max(axis=1)
  scale = np.maximum(largest, np.finfo(np.float32).tiny)[:, None]
  codes = np.rint(levels * np.sqrt(rows / scale)).astype(np.uint8)
  error = np.abs(_decoded(largest, codes, levels) - rows).max()
  data = largest.astype('<f4').tobytes() + codes.tobytes()
  return Packed(zlib.compress(data, 6), float(error))


def unpack(data, num_tokens, levels):
  """Returns float32 [rows, tokens], as a browser reads `Packed.data`."""
  raw = zlib.decompress(data)
  num_rows = len(raw) // (4 + num_tokens)
  largest = np.frombuffer(raw, '<f4', num_rows)
  codes = np.frombuffer(raw, np.uint8, offset=4 * num_rows)
  return _decoded(largest, codes.reshape(num_rows, num_tokens), levels)


def bound(levels):
  """Returns how far off a weight may be, as a fraction of its row's largest."""
  return (levels + 0.25) / levels**2


def _decoded(largest, codes, levels):
  squares = (np.arange(levels + 1, dtype=np.float32) / levels) ** 2
  return largest[:, None] * squares[codes]
