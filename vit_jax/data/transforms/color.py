"""Color jitter, grayscale, blur and erasing, and 3-Augment of DeiT III.

Each is a transform; see `transforms`. Factors and their ranges are those of
Pillow's ImageEnhance: 1 leaves the image unchanged, 0 removes all brightness,
contrast or colour.
"""

import dataclasses

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class Jitter:
  """Changes brightness, contrast and saturation, in random order.

  Each by a factor that is uniform in [1 - strength, 1 + strength].
  """

  brightness: float
  contrast: float
  saturation: float

  def __call__(self, image, rng):
    strengths = (self.brightness, self.contrast, self.saturation)
    for kind in rng.permutation(3).tolist():
      factor = 1 + strengths[kind] * rng.uniform(-1, 1)
      image = _ENHANCE[kind](image, factor)
    return image


@dataclasses.dataclass(frozen=True)
class Grey:
  """Converts some images to grayscale."""

  probability: float = 1.0

  def __call__(self, image, rng):
    return grey(image) if rng.random() < self.probability else image


@dataclasses.dataclass(frozen=True)
class Solarize:
  """Inverts the values at or above the threshold."""

  threshold: int = 128

  def __call__(self, image, rng=None):
    value = np.arange(256)
    table = np.where(value < self.threshold, value, 255 - value)
    return cv2.LUT(image, table.astype(np.uint8))


@dataclasses.dataclass(frozen=True)
class Blur:
  """Blurs by a Gaussian whose standard deviation, in pixels, is uniform."""

  min_sigma: float = 0.1
  max_sigma: float = 2.0

  def __call__(self, image, rng):
    sigma = rng.uniform(self.min_sigma, self.max_sigma)
    return cv2.GaussianBlur(
      image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE
    )


@dataclasses.dataclass(frozen=True)
class OneOf:
  """Applies one of several transforms, chosen uniformly."""

  choices: tuple

  def __call__(self, image, rng):
    return self.choices[int(rng.integers(len(self.choices)))](image, rng)


@dataclasses.dataclass(frozen=True)
class Erase:
  """Fills a rectangle of some images with random values.

  Random erasing (Zhong et al., 2020), section 3: the area is uniform from 2 to
  40 % of the image, the aspect ratio from 0.3 to 1/0.3, here of uniform
  logarithm. `mixing` does the same on the device, to a whole batch.
  """

  probability: float

  def __call__(self, image, rng):
    if rng.random() >= self.probability:
      return image
    height, width = image.shape[:2]
    area, aspect, y, x = rng.random(4).tolist()
    area = (0.02 + area * 0.38) * height * width
    aspect = 0.3 ** (2 * aspect - 1)
    rows = min(height, round((area / aspect) ** 0.5))
    columns = min(width, round((area * aspect) ** 0.5))
    top = int(y * (height - rows + 1))
    left = int(x * (width - columns + 1))
    image = image.copy()
    image[top : top + rows, left : left + columns] = rng.integers(
      0, 256, (rows, columns, 3), np.uint8
    )
    return image


# Touvron et al. (2022), DeiT III.
THREE_AUGMENT = (
  OneOf((Grey(), Solarize(), Blur())),
  Jitter(0.3, 0.3, 0.3),
)


def grey(image):
  """Returns the image in grayscale, still with three channels."""
  return cv2.cvtColor(
    cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB
  )


def _brighten(image, factor):
  return cv2.convertScaleAbs(image, alpha=factor)


def _contrast(image, factor):
  mean = round(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0])
  value = mean + factor * (np.arange(256) - mean)
  return cv2.LUT(image, np.rint(value).clip(0, 255).astype(np.uint8))


def _saturate(image, factor):
  return cv2.addWeighted(image, factor, grey(image), 1 - factor, 0)


_ENHANCE = (_brighten, _contrast, _saturate)
