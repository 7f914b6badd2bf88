"""Crops: from an image of any size to one of the size of the model's input.

Each is a transform; see `transforms`. The tables at the end map fields of the
configuration to crops.
"""

import dataclasses
import math

import cv2
import numpy as np

from vit_jax import plugins
from vit_jax.data.transforms import decoding, resizing, whole_pixels


@dataclasses.dataclass(frozen=True)
class Stretch:
  """Resizes the whole image, ignoring its aspect ratio.

  Bilinear without antialiasing is how the released models were evaluated. With
  a `scale` it is resized to that many times the size, then center-cropped.
  """

  rows: int
  columns: int
  method: str = 'bilinear'
  scale: float = 1.0
  rounding: whole_pixels.Rounding = whole_pixels.NEAREST

  def __call__(self, image, rng=None):
    size = (
      self.rounding.box(self.rows, self.scale),
      self.rounding.box(self.columns, self.scale),
    )
    image = _resized(image, size, self.method)
    return _centre(image, self.rows, self.columns, self.rounding)


@dataclasses.dataclass(frozen=True)
class RandomResized:
  """Resizes a random part of the image: the Inception crop.

  Szegedy et al. (2015), section 6: the fraction of the area is uniform from
  `min_area` to `max_area`, the aspect ratio (width / height) between the two
  given; its logarithm is uniform here, so that wide and tall are as likely. A
  crop that does not fit is drawn again, at most ten times; then it is the
  largest central crop of a permitted aspect ratio.
  """

  rows: int
  columns: int
  min_area: float
  max_area: float = 1.0
  min_aspect: float = 3 / 4
  max_aspect: float = 4 / 3
  method: str = 'bilinear'

  def __call__(self, image, rng):
    return self.cut(image, self.box(*image.shape[:2], rng))

  def cut(self, image, box):
    """Returns the part (top, left, rows, columns) of the image, resized."""
    top, left, rows, columns = box
    crop = image[top : top + rows, left : left + columns]
    return resizing.resize(crop, self.rows, self.columns, self.method)

  def box(self, height, width, rng):
    """Returns (top, left, rows, columns) of a crop in pixels."""
    low, high = math.log(self.min_aspect), math.log(self.max_aspect)
    for _ in range(10):
      area, aspect, y, x = rng.random(4).tolist()
      area = (self.min_area + area * (self.max_area - self.min_area)) * (
        height * width
      )
      aspect = math.exp(low + aspect * (high - low))
      rows = max(1, round(math.sqrt(area / aspect)))
      columns = max(1, round(math.sqrt(area * aspect)))
      if rows <= height and columns <= width:
        return (
          int(y * (height - rows + 1)),
          int(x * (width - columns + 1)),
          rows,
          columns,
        )
    aspect = min(max(width / height, self.min_aspect), self.max_aspect)
    rows = max(1, min(height, round(width / aspect)))
    columns = max(1, min(width, round(height * aspect)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


@dataclasses.dataclass(frozen=True)
class Central:
  """Center-crops the image after resizing it to cover `scale` times the size.

  By default 8/7: for 224 pixels the shorter side becomes 256, for any other
  size likewise.
  """

  rows: int
  columns: int
  method: str = 'area'
  scale: float = 8 / 7
  rounding: whole_pixels.Rounding = whole_pixels.NEAREST

  def __call__(self, image, rng=None):
    size = self.rounding.cover(
      *image.shape[:2], self.rows, self.columns, self.scale
    )
    image = _resized(image, size, self.method)
    return _centre(image, self.rows, self.columns, self.rounding)


@dataclasses.dataclass(frozen=True)
class Letterbox:
  """Resizes the whole image to fit in, and pads it, by default with grey 128.

  With a `scale` it is resized to fit into that many times the size, and what
  is outside is cut off.
  """

  rows: int
  columns: int
  method: str = 'area'
  scale: float = 1.0
  rounding: whole_pixels.Rounding = whole_pixels.NEAREST
  color: tuple[int, int, int] = (128, 128, 128)

  def __call__(self, image, rng=None):
    size = self.rounding.fit(
      *image.shape[:2], self.rows, self.columns, self.scale
    )
    image = _resized(image, size, self.method)
    down, across = max(0, self.rows - size[0]), max(0, self.columns - size[1])
    top, left = down // 2, across // 2
    image = cv2.copyMakeBorder(
      image,
      top,
      down - top,
      left,
      across - left,
      cv2.BORDER_CONSTANT,
      value=self.color,
    )
    return _centre(image, self.rows, self.columns, self.rounding)


@dataclasses.dataclass(frozen=True)
class PadAndCrop:
  """Resizes the image, pads it by reflection and takes a random crop.

  On 32 x 32 pixels, though with black padding, this is how CIFAR is augmented
  (He et al., 2016, section 4.2); DeiT III (Touvron et al., 2022) calls it the
  simple random crop.
  """

  rows: int
  columns: int
  padding: int = 4
  method: str = 'bilinear'

  def __call__(self, image, rng):
    image = _cover(image, self.rows, self.columns, self.method)
    pad = self.padding
    image = cv2.copyMakeBorder(
      image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101
    )
    return _take_random(image, self.rows, self.columns, rng)


@dataclasses.dataclass(frozen=True)
class ResizeAndCrop:
  """Resizes the whole image to `scale` times the size and takes a random crop.

  Ignores the aspect ratio; from 448 to 384 pixels, this is how the released ViT
  configurations for VTAB (scenic's plainvit) train.
  """

  rows: int
  columns: int
  method: str = 'bilinear'
  scale: float = 7 / 6

  def __call__(self, image, rng):
    height = round(self.scale * self.rows)
    width = round(self.scale * self.columns)
    image = resizing.resize(image, height, width, self.method)
    return _take_random(image, self.rows, self.columns, rng)


@dataclasses.dataclass(frozen=True)
class RandomAffine:
  """Takes the image to size, then maps it by a random affine transformation.

  For drawings and characters, which may be turned, slanted and stretched.
  All are uniform: the turn and the slant up to `angle` either way, the zoom of
  each axis up to `zoom` (its logarithm is uniform), the shift up to `shift`.
  What comes in from outside is black.
  """

  rows: int
  columns: int
  angle: float = 12.0  # Degrees.
  zoom: float = 1.25  # Times; as often its inverse.
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


def _take_random(image, rows, columns, rng):
  y, x = rng.random(2).tolist()
  top = int(y * (image.shape[0] - rows + 1))
  left = int(x * (image.shape[1] - columns + 1))
  return image[top : top + rows, left : left + columns]


def _centre(image, rows, columns, rounding):
  top = rounding.before(image.shape[0] - rows)
  left = rounding.before(image.shape[1] - columns)
  return image[top : top + rows, left : left + columns]


def _cover(image, rows, columns, method):
  size = whole_pixels.NEAREST.cover(*image.shape[:2], rows, columns, scale=1.0)
  return _resized(image, size, method)


def _resized(image, size, method):
  decoding.check_size(*size)  # A very long and narrow image grows.
  return resizing.resize(image, *size, method)


def _method(data, usual):
  return usual if data.resize == 'auto' else data.resize


def _random_resized(data, rows, columns):
  return RandomResized(
    rows, columns, data.min_crop_area, method=_method(data, 'bilinear')
  )


def _pad_and_crop(data, rows, columns):
  return PadAndCrop(rows, columns, method=_method(data, 'bilinear'))


def _affine(data, rows, columns):
  method = _method(data, 'bilinear')
  return RandomAffine(rows, columns, method=method)


def _resize_and_crop(data, rows, columns):
  return ResizeAndCrop(rows, columns, _method(data, 'bilinear'))


def _stretch(data, rows, columns):
  return Stretch(rows, columns, _method(data, 'bilinear'))


def _central(data, rows, columns):
  return Central(rows, columns, _method(data, 'area'))


def _letterbox(data, rows, columns):
  return Letterbox(rows, columns, _method(data, 'area'))


# (the part `data` of the configuration, rows, columns) -> transform.
TRAINING = plugins.Registry(
  'train_crop',
  {
    'random_resized': _random_resized,
    'pad_and_crop': _pad_and_crop,
    'affine': _affine,
    'resize_and_crop': _resize_and_crop,
    'stretch': _stretch,
    'central': _central,
    'letterbox': _letterbox,
  },
)
EVALUATION = {'central': _central, 'stretch': _stretch, 'letterbox': _letterbox}
