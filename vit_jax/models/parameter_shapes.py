"""What the shapes of parameters tell of the model that they are of."""

import math
import re


def count(shapes, pattern):
  """Returns how many paths match a pattern, as the number of layers."""
  return sum(bool(re.fullmatch(pattern, path)) for path in shapes)


def units(shapes, block):
  """Returns how many units each block of a ResNet has.

  Args:
    shapes: {path: shape}.
    block: what the path of a block is but for its number.
  """
  num_blocks = count(shapes, rf'{block}(\d+)/unit_1/conv_1/kernel')
  return tuple(
    count(shapes, rf'{block}{number + 1}/unit_(\d+)/conv_1/kernel')
    for number in range(num_blocks)
  )


def image_size(num_patches, patch_size):
  """Returns the image that a square grid of patches covers; None: no square."""
  side = math.isqrt(max(0, num_patches))
  if not patch_size or side**2 != num_patches:
    return None
  return side * patch_size, side * patch_size
