"""What happens to one image on the host: decode, crop, resize, flip.

A transform maps an image, uint8 [rows, columns, 3], to another and draws what
is random from `rng`, a NumPy generator. A pipeline is a list of transforms; the
first of them, `Decode`, takes the bytes of a file.
"""

import dataclasses
import math

import cv2
import numpy as np

from vit_jax import errors, experiment
from vit_jax.data import decoding

# Batches are built in threads of our own; OpenCV's would fight with them.
cv2.setNumThreads(0)


@dataclasses.dataclass(frozen=True)
class Decode:
  """Maps the bytes of an image file to pixels; see `decoding.decode`."""

  max_pixels: int = decoding.MAX_PIXELS

  def __call__(self, image, rng=None):
    return decoding.decode(image, self.max_pixels)


@dataclasses.dataclass(frozen=True)
class Resize:
  """Squashes the whole image to a size in pixels.

  Bilinear without antialiasing, as the released models were evaluated.
  """

  rows: int
  columns: int

  def __call__(self, image, rng=None):
    return cv2.resize(
      image, (self.columns, self.rows), interpolation=cv2.INTER_LINEAR
    )


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
  """Resizes a random part of the image: the Inception crop.

  Szegedy et al. (2015), section 6: the share of the area is uniform in
  [min_area, 1], the aspect ratio between 3/4 and 4/3; its logarithm is uniform
  here, so that wide and tall are alike. A crop that sticks out is drawn again,
  at most ten times; then it is the largest central part of a permitted aspect.
  """

  rows: int
  columns: int
  min_area: float

  def __call__(self, image, rng):
    top, left, rows, columns = self._box(*image.shape[:2], rng)
    crop = image[top : top + rows, left : left + columns]
    return Resize(self.rows, self.columns)(crop)

  def _box(self, height, width, rng):
    """Returns (top, left, rows, columns) of the crop in pixels."""
    for _ in range(10):
      area = rng.uniform(self.min_area, 1) * height * width
      aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
      rows = max(1, round(math.sqrt(area / aspect)))
      columns = max(1, round(math.sqrt(area * aspect)))
      if rows <= height and columns <= width:
        top = rng.integers(height - rows + 1)
        left = rng.integers(width - columns + 1)
        return top, left, rows, columns
    aspect = min(max(width / height, 3 / 4), 4 / 3)
    rows = max(1, min(height, round(width / aspect)))
    columns = max(1, min(width, round(height * aspect)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


@dataclasses.dataclass(frozen=True)
class CentralCrop:
  """Takes the centre of the image, scaled to 8/7 of the size wanted.

  For 224 pixels the shorter side becomes 256, for any other size likewise. An
  image that shrinks is averaged over the area of each new pixel, so it does not
  alias; one that grows is interpolated bilinearly.
  """

  rows: int
  columns: int

  def __call__(self, image, rng=None):
    height, width = image.shape[:2]
    scale = 8 / 7 * max(self.rows / height, self.columns / width)
    height = max(self.rows, round(height * scale))
    width = max(self.columns, round(width * scale))
    decoding.check_size(height, width)  # A very long and narrow image grows.
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, (width, height), interpolation=interpolation)
    top = (height - self.rows) // 2
    left = (width - self.columns) // 2
    return image[top : top + self.rows, left : left + self.columns]


@dataclasses.dataclass(frozen=True)
class Flip:
  """Mirrors every other image, left to right."""

  def __call__(self, image, rng):
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def _random_resized(data, rows, columns):
  return RandomResizedCrop(rows, columns, data.min_crop_area)


def _central(data, rows, columns):
  return CentralCrop(rows, columns)


def _squash(data, rows, columns):
  return Resize(rows, columns)


TRAIN_CROPS = {'random_resized': _random_resized, 'squash': _squash}
EVAL_CROPS = {'central': _central, 'squash': _squash}


def for_training(data):
  """Returns the transforms of a training image, from encoded to cropped.

  Args:
    data: the part `data` of the configuration.
  """
  make_crop = errors.choose('data.train_crop', data.train_crop, TRAIN_CROPS)
  crop = make_crop(data, *experiment.image_size(data))
  return (Decode(), crop, *([Flip()] if data.flip else []))


def for_evaluation(data):
  """Returns the transforms of an image to evaluate; none of them is random."""
  make_crop = errors.choose('data.eval_crop', data.eval_crop, EVAL_CROPS)
  crop = make_crop(data, *experiment.image_size(data))
  return (Decode(), crop)


def apply(transforms, image, rng=None):
  """Returns what becomes of an image under all transforms, in their order."""
  for transform in transforms:
    image = transform(image, rng)
  return np.ascontiguousarray(image)
