"""RandAugment (Cubuk et al., 2020), as in the code of the released models.

That code is TensorFlow's, forked from the TPU models into big_vision. Its
magnitude is the table's level times 10; above 10, it does what the TensorFlow
operations happen to do: the threshold of Solarize wraps around at 256, and
Posterize beyond 8 bits keeps 1. Contrast blends with the number of pixels over
256 (196 for 224 x 224), not with the mean. The probability that the code draws
is never used: each operation drawn is applied.

An operation is a row of one of three tables: it looks values up, blends the
image with a degenerate one, or warps it. Only Cutout is none of these.
"""

import dataclasses
import math

import cv2
import numpy as np

GREY = (128, 128, 128)  # Fill value outside a warped image, and of Cutout.

_VALUES = np.arange(256)
# OpenCV rounds where TensorFlow truncates; integers must stay the same.
_TRUNCATE = -0.4999


@dataclasses.dataclass(frozen=True)
class RandAugment:
  """Applies operations drawn with replacement; a transform.

  Attributes:
    layers: number of operations in a row, l of AugReg.
    magnitude: of each, m of AugReg; 0 to 30.
  """

  layers: int
  magnitude: float

  def __call__(self, image, rng):
    for number in rng.integers(len(NAMES), size=self.layers).tolist():
      image = apply(NAMES[number], image, self.magnitude, rng)
    return image


def apply(name, image, magnitude, rng):
  """Returns the image, uint8 [rows, columns, 3], after one of `NAMES`."""
  level = magnitude / 10
  if name in LOOKUPS:
    make_table, amount = LOOKUPS[name]
    table = make_table(image, amount(level))
    return cv2.LUT(image, table.clip(0, 255).astype(np.uint8))
  if name in BLENDS:
    return _blend(BLENDS[name](image), image, 1.8 * level + 0.1)
  if name in WARPS:
    make_matrix, unit = WARPS[name]
    sign = 1 if rng.random() < 0.5 else -1
    return _warp(image, make_matrix(sign * unit * level, *image.shape[:2]))
  return _cutout(image, int(40 * level), rng)


def _autocontrast(image, _):
  tables = []
  for counts in _histograms(image):
    present = np.flatnonzero(counts)
    low, high = float(present[0]), float(present[-1])
    scale = 255 / (high - low) if high > low else 1.0
    offset = -low * scale if high > low else 0.0
    # In float32, so that truncation is the same.
    tables.append(
      _VALUES.astype(np.float32) * np.float32(scale) + np.float32(offset)
    )
  return np.stack(tables, -1)[None]  # [1, 256, 3]


def _equalize(image, _):
  tables = []
  for counts in _histograms(image):
    step = (counts.sum() - counts[counts > 0][-1]) // 255
    if step:
      table = (counts.cumsum() + step // 2) // step
      tables.append(np.concatenate([[0], table[:-1]]))
    else:
      tables.append(_VALUES)
  return np.stack(tables, -1)[None]


def _histograms(image):
  """Returns how often each value occurs, int [3, 256]."""
  return np.stack(
    [
      cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel()
      for channel in range(3)
    ]
  ).astype(int)


def _invert(image, _):
  return 255 - _VALUES


def _posterize(image, bits):
  shift = 8 - bits if 0 < bits <= 8 else 7
  return _VALUES >> shift << shift


def _solarize(image, threshold):
  return np.where(threshold % 256 > _VALUES, _VALUES, 255 - _VALUES)


def _solarize_add(image, addition):
  return np.where(_VALUES < 128, _VALUES + addition, _VALUES)


def _colourless(image):
  # `tf.image.rgb_to_grayscale` scales by 255.5 / 255 before it truncates.
  weights = np.array([0.2989, 0.5870, 0.1140]) * (255.5 / 255)
  grey = cv2.transform(image, np.array([[*weights, _TRUNCATE]]))
  return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def _flat(image):
  rows, columns = image.shape[:2]
  return np.full_like(image, min(rows * columns // 256, 255))


def _smooth(image):
  kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
  inner = cv2.filter2D(image, -1, kernel, delta=_TRUNCATE)
  smooth = image.copy()  # Its border is unchanged.
  smooth[1:-1, 1:-1] = inner[1:-1, 1:-1]
  return smooth


def _blend(degenerate, image, factor):
  return cv2.addWeighted(image, factor, degenerate, 1 - factor, _TRUNCATE)


def _rotate(radians, rows, columns):
  cos, sin = math.cos(radians), math.sin(radians)
  x, y = (columns - 1) / 2, (rows - 1) / 2
  return ((cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y))


def _shear_x(slope, rows, columns):
  return (1, slope, 0), (0, 1, 0)


def _shear_y(slope, rows, columns):
  return (1, 0, 0), (slope, 1, 0)


def _translate_x(pixels, rows, columns):
  return (1, 0, pixels), (0, 1, 0)


def _translate_y(pixels, rows, columns):
  return (1, 0, 0), (0, 1, pixels)


def _warp(image, matrix):
  """Gives each pixel (x, y) the value of the one at matrix @ (x, y, 1)."""
  return cv2.warpAffine(
    image,
    np.array(matrix, np.float64),
    image.shape[1::-1],
    flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_CONSTANT,
    borderValue=GREY,
  )


def _cutout(image, half, rng):
  """Fills a square around a random pixel, clipped at the edge."""
  y, x = (int(rng.random() * side) for side in image.shape[:2])
  image = image.copy()
  image[max(0, y - half) : y + half, max(0, x - half) : x + half] = GREY
  return image


def _none(level):
  return None


# Name: function for the table of values, and its amount at a level.
LOOKUPS = {
  'AutoContrast': (_autocontrast, _none),
  'Equalize': (_equalize, _none),
  'Invert': (_invert, _none),
  'Posterize': (_posterize, lambda level: int(4 * level)),
  'Solarize': (_solarize, lambda level: int(256 * level)),
  'SolarizeAdd': (_solarize_add, lambda level: int(110 * level)),
}

# Name: the degenerate image, at factor 0; the factor is 1.8 * level + 0.1.
BLENDS = {
  'Color': _colourless,
  'Contrast': _flat,
  'Brightness': np.zeros_like,
  'Sharpness': _smooth,
}

# Name: function for the matrix, and its amount at level 1; either sign.
WARPS = {
  'Rotate': (_rotate, math.radians(30)),
  'ShearX': (_shear_x, 0.3),
  'ShearY': (_shear_y, 0.3),
  'TranslateX': (_translate_x, 100),  # Pixels, whatever the resolution.
  'TranslateY': (_translate_y, 100),
}

NAMES = (*LOOKUPS, *BLENDS, *WARPS, 'Cutout')
