"""Random rotation, shear, zoom and shift, for drawings and characters."""

import dataclasses
import math

import cv2
import numpy as np

from vit_jax.data.transforms import resizing


@dataclasses.dataclass(frozen=True)
class RandomAffine:
  """Resizes the image, then maps it by a random affine transformation.

  All are uniform: rotation and shear up to `angle` either way, the zoom of each
  axis up to `zoom` (its logarithm is uniform), the shift up to `shift`. What is
  outside the image is black.
  """

  rows: int
  columns: int
  angle: float = 12.0  # Degrees.
  zoom: float = 1.25  # Factor; or its inverse.
  shift: float = 0.1  # Of the side.
  method: str = 'bilinear'

  def __call__(self, image, rng):
    """Maps uint8 [height, width, 3] to uint8 [rows, columns, 3]."""
    image = resizing.resize(image, self.rows, self.columns, self.method)
    return cv2.warpAffine(
      image, self.matrix(rng), (self.columns, self.rows), flags=cv2.INTER_LINEAR
    )

  def matrix(self, rng):
    """Returns float64 [2, 3], from (x, y, 1) before to (x, y) after."""
    turn, slant = np.radians(rng.uniform(-self.angle, self.angle, 2))
    zoom = np.exp(rng.uniform(-1, 1, 2) * math.log(self.zoom))
    size = np.array([self.columns, self.rows])
    shift = rng.uniform(-self.shift, self.shift, 2) * size
    cos, sin = math.cos(turn), math.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]])
    linear = linear @ [[1, math.tan(slant)], [0, 1]] @ np.diag(zoom)
    centre = (size - 1) / 2
    return np.column_stack([linear, centre - linear @ centre + shift])
