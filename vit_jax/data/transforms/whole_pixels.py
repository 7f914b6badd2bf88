"""Whole pixels: how each project rounds sizes of images and places of crops.

They agree but for a pixel, which moves the whole image by one. `NEAREST` is
this project's own, with which the released models were evaluated; timm's and
transformers' are theirs, whose weights are used as they use them.
"""

import math

_TINY = 1e-6  # Far above what floats err, far below any step of a size.


class Nearest:
  """Rounds each side to the nearest integer; what is over goes to the end."""

  def box(self, side, scale):
    """Returns `scale` times a side of the crop, in pixels."""
    return max(side, round(scale * side))

  def cover(self, height, width, rows, columns, scale):
    """Returns the size of an image that covers `scale` times the crop."""
    scale = scale * max(rows / height, columns / width)
    return max(rows, round(height * scale)), max(columns, round(width * scale))

  def fit(self, height, width, rows, columns, scale):
    """Returns the size of an image that fits into `scale` times the crop."""
    scale = scale * min(rows / height, columns / width)
    return max(1, round(height * scale)), max(1, round(width * scale))

  def before(self, excess):
    """Returns how many of the pixels that are cut off come before the crop."""
    return excess // 2


class Timm:
  """timm's `transforms_imagenet_eval`, of torchvision's Resize, CenterCrop.

  The crop's sides are scaled and rounded down, then covered. For a square, the
  longer side of the image is rounded down too, else to the nearest.
  """

  def box(self, side, scale):
    return math.floor(scale * side + _TINY)

  def cover(self, height, width, rows, columns, scale):
    rows, columns = self.box(rows, scale), self.box(columns, scale)
    if rows != columns:
      return _divided(height, width, min(height / rows, width / columns))
    if width <= height:
      return int(rows * height / width), rows
    return rows, int(rows * width / height)

  def fit(self, height, width, rows, columns, scale):
    rows, columns = self.box(rows, scale), self.box(columns, scale)
    return _divided(height, width, max(height / rows, width / columns))

  def before(self, excess):
    return round(excess / 2)  # Halves go to the even number.


class Transformers(Timm):
  """transformers' image processors: `shortest_edge`, then `center_crop`."""

  def before(self, excess):
    return excess // 2


def _divided(height, width, ratio):
  return max(1, round(height / ratio)), max(1, round(width / ratio))


Rounding = Nearest | Timm
NEAREST = Nearest()
ROUNDINGS = {
  'nearest': NEAREST,
  'timm': Timm(),
  'transformers': Transformers(),
}
