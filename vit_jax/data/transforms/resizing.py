"""Resizing of images, uint8 [rows, columns, 3], by the methods in common use.

Pixel centres are half-way between pixel edges in all of them. Without
antialiasing an output pixel depends on the 2 x 2 or 4 x 4 pixels around its
centre, however much the image shrinks (`tf.image.resize`'s default); with it,
on all pixels it covers (Pillow, torchvision, timm).
"""

import cv2
import numpy as np
from PIL import Image

from vit_jax import errors

# Batches are built in threads of our own; OpenCV's would compete with them.
cv2.setNumThreads(0)


def resize(image, rows, columns, method):
  """Returns the image at another size.

  Args:
    image: uint8 [rows, columns, 3].
    rows, columns: the target size, in pixels.
    method: a key of `METHODS`.
  """
  if image.shape[:2] == (rows, columns):
    return image
  return errors.choose('data.resize', method, METHODS)(image, rows, columns)


def _bilinear(image, rows, columns):
  return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)


def _area(image, rows, columns):
  """Averages all pixels that a new one covers; bilinear for enlarging."""
  shrinks = rows < image.shape[0] and columns < image.shape[1]
  interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
  return cv2.resize(image, (columns, rows), interpolation=interpolation)


def _bicubic(image, rows, columns):
  """Keys' cubic with a = -1/2, as TF and Pillow; OpenCV has a = -3/4."""
  pixels = image.astype(np.float32)
  for axis, size in enumerate((rows, columns)):
    taps, weights = _cubic(image.shape[axis], size)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    pixels = sum(
      pixels.take(tap, axis) * weight.reshape(shape)
      for tap, weight in zip(taps, weights)
    )
  return np.rint(pixels.clip(0, 255)).astype(np.uint8)


def _cubic(length, size):
  """Returns source indices and weights, each [4, size], along one axis."""
  centre = (np.arange(size) + 0.5) * (length / size) - 0.5
  taps = np.floor(centre).astype(int) + np.arange(-1, 3)[:, None]
  x = np.abs(centre - taps)
  near = (1.5 * x - 2.5) * x * x + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  weights = np.where(x < 1, near, np.where(x < 2, far, 0))
  # There are no pixels beyond the edge: the weights are renormalized.
  weights = np.where((taps >= 0) & (taps < length), weights, 0)
  weights /= weights.sum(0)
  return taps.clip(0, length - 1), weights.astype(np.float32)


def _with_pillow(filter):
  def resize(image, rows, columns):
    return np.asarray(Image.fromarray(image).resize((columns, rows), filter))

  return resize


METHODS = {
  'bilinear': _bilinear,
  'bicubic': _bicubic,
  'area': _area,
  'bilinear_antialiased': _with_pillow(Image.Resampling.BILINEAR),
  'bicubic_antialiased': _with_pillow(Image.Resampling.BICUBIC),
  'lanczos_antialiased': _with_pillow(Image.Resampling.LANCZOS),
}
