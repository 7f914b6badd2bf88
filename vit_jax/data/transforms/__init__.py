"""Transforms of one image on the host: decode, crop, resize, flip.

A transform maps an image, uint8 [rows, columns, 3], to another, and is random
by `rng`, a NumPy generator. A chain is a list of transforms; the first of them,
`DecodeCrop`, takes the bytes of a file.
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data.transforms import augmentations, crops, decoding, resizing

# {field: table of choices, by name}.
CHOICES = {
  'data.train_crop': crops.TRAINING,
  'data.eval_crop': crops.EVALUATION,
  'data.resize': ('auto', *resizing.METHODS),
  'data.augmentation': augmentations.AUGMENTATIONS,
}


@dataclasses.dataclass(frozen=True)
class DecodeCrop:
  """Decodes a file and crops; large JPEGs are decoded at a reduced scale.

  Where a random crop is at least 2, 4 or 8 times the target size, a JPEG is
  decoded to that fraction of its sides: TurboJPEG then averages pixels that
  resizing would have skipped.

  Attributes:
    crop: a transform; see `crops`.
    exif_orientation: whether the image is turned as its EXIF orientation says.
    max_pixels: of an image; larger ones are refused.
    exact_jpeg: whether a JPEG becomes Pillow's pixels; see `decoding.decode`.
  """

  crop: Callable
  exif_orientation: bool = False
  max_pixels: int = decoding.MAX_PIXELS
  exact_jpeg: bool = False

  def __call__(self, image, rng=None):
    size = decoding.jpeg_size(image)
    is_random = isinstance(self.crop, crops.RandomResized)
    if is_random and size is not None and not self.exif_orientation:
      pixels, cropped = self._part(image, size, rng)
    else:
      pixels = decoding.decode(
        image,
        self.max_pixels,
        self.exif_orientation,
        transient=True,
        exact_jpeg=self.exact_jpeg,
      )
      cropped = self.crop(pixels, rng)
    # A crop may be a view; the pixels are about to be overwritten.
    return cropped.copy() if np.may_share_memory(cropped, pixels) else cropped

  def _part(self, image, size, rng):
    """Returns the pixels of a JPEG, perhaps shrunk, and the crop of them."""
    top, left, rows, columns = self.crop.box(*size, rng)
    shrink = self._shrink(rows, columns)
    pixels = decoding.decode(
      image,
      self.max_pixels,
      shrink=shrink,
      transient=True,
      exact_jpeg=self.exact_jpeg,
    )
    if pixels.shape[:2] == size:  # Pillow, the fallback, does not shrink.
      shrink = 1
    edges = [
      round(edge / shrink) for edge in (top, left, top + rows, left + columns)
    ]
    top, left, bottom, right = edges
    box = (top, left, bottom - top, right - left)
    return pixels, self.crop.cut(pixels, box)

  def _shrink(self, rows, columns):
    for shrink in 8, 4, 2:
      fits = rows >= shrink * self.crop.rows
      if fits and columns >= shrink * self.crop.columns:
        return shrink
    return 1


@dataclasses.dataclass(frozen=True)
class Flip:
  """Mirrors an image left to right with probability 1/2."""

  def __call__(self, image, rng):
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def for_training(data):
  """Returns the transforms of a training image, from decoding to augmentation.

  Args:
    data: the part `data` of the configuration.
  """
  make_crop = errors.choose('data.train_crop', data.train_crop, crops.TRAINING)
  crop = make_crop(data, *schema.image_size(data))
  first = DecodeCrop(crop, data.exif_orientation)
  flip = (Flip(),) if data.flip else ()
  return (first, *flip, *augmentations.get(data.augmentation).transforms)


def for_evaluation(data):
  """Returns the transforms of an evaluation image; none of them is random."""
  make_crop = errors.choose('data.eval_crop', data.eval_crop, crops.EVALUATION)
  crop = make_crop(data, *schema.image_size(data))
  return (DecodeCrop(crop, data.exif_orientation),)


def apply(transforms, image, rng=None):
  """Applies all transforms to an image, in their order."""
  for transform in transforms:
    image = transform(image, rng)
  return np.ascontiguousarray(image)
