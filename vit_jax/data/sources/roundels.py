"""Painted roundels, rendered on the fly: a data set of any size and resolution.

A roundel is a disc or a ring that is divided in two, left and right or upper
and lower, and painted in two of three tinctures. The 24 classes are its shape,
how it is divided, and which tincture is where: patches without their positions
show the two tinctures, and little of the rest. The roundel's position, size and
tilt, the brightness and strength of its paints and the whole background are
random and uninformative, and pixels are noisy.

An example is a function of split and index alone, and its scene is the same at
every resolution.
"""

import dataclasses
import math
import zlib

import numpy as np

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data.sources import slices

SHAPES = ('●', '○')
PARTINGS = ('|', '-')  # The line between left and right, upper and lower.
TINCTURES = {'red': 0, 'green': 120, 'blue': 240}  # Hue in degrees.

# ('●', 'red', '-', 'blue'): a disc, its upper half red, its lower half blue.
CLASSES = tuple(
  (shape, first, parting, second)
  for shape in SHAPES
  for parting in PARTINGS
  for first in TINCTURES
  for second in TINCTURES
  if first != second
)

_RADIUS = 0.55, 0.85  # Where the shorter side of an image is from -1 to 1.
_HOLE = 0.5  # Of a ring, in radii.
_TILT = -0.2, 0.2  # Radians.
_BRIGHTNESS = 80, 175  # Of a paint, and of the ground.
_STRENGTH = 30, 80  # Of a paint: how far from grey.
_NOISE = 15.0  # Standard deviation, of each pixel and colour.
_MAX_CACHED = 2**26  # Bytes of images in memory.


@dataclasses.dataclass(frozen=True)
class Scene:
  """A roundel and its background, before rendering.

  Attributes:
    label: index into `CLASSES`.
    center: (x, y), to the right and down.
    radius: of disc or ring.
    tilt: of the parting; radians, clockwise.
    colors: of the ground, the first and the second half, [3, 3], 0 to 255.
  """

  label: int
  center: tuple[float, float]
  radius: float
  tilt: float
  colors: np.ndarray


def draw_scene(label, rng):
  """Returns a random `Scene` of a class."""
  _, first, _, second = CLASSES[label]
  radius, x, y, tilt, ground, *paints = rng.random(11).tolist()
  radius = _between(_RADIUS, radius)
  hues = np.radians([360 * ground, TINCTURES[first], TINCTURES[second]])
  primaries = np.radians(list(TINCTURES.values()))
  tints = math.sqrt(2 / 3) * np.cos(hues[:, None] - primaries)  # Of length 1.
  brightness = _between(_BRIGHTNESS, np.array(paints[:3]))
  strength = _between(_STRENGTH, np.array(paints[3:]))
  return Scene(
    label=label,
    # The whole roundel is visible.
    center=((2 * x - 1) * (1 - radius), (2 * y - 1) * (1 - radius)),
    radius=radius,
    tilt=_between(_TILT, tilt),
    colors=brightness[:, None] + strength[:, None] * tints,
  )


def render(scene, rows, columns):
  """Returns the image of a scene without noise, float [rows, columns, 3]."""
  shape, _, parting, _ = CLASSES[scene.label]
  pixel = 2 / min(rows, columns) / scene.radius  # Its side, in radii.
  x, y = _coordinates(scene, rows, columns)
  distance = np.hypot(x, y)
  depth = 1 - distance
  if shape == '○':
    depth = np.minimum(depth, distance - _HOLE)
  inside = _coverage(depth, pixel)
  beyond = inside * _coverage(y if parting == '-' else x, pixel)
  mix = np.stack([1 - inside, inside - beyond, beyond], axis=-1)
  return mix @ scene.colors


def _coordinates(scene, rows, columns):
  """Returns x and y [rows, columns] of pixels, from its centre, in radii."""
  scale = 2 / min(rows, columns)
  x = (np.arange(columns) + 0.5 - columns / 2) * scale - scene.center[0]
  y = (np.arange(rows) + 0.5 - rows / 2) * scale - scene.center[1]
  x, y = x[None] / scene.radius, y[:, None] / scene.radius
  cos, sin = math.cos(scene.tilt), math.sin(scene.tilt)
  return cos * x + sin * y, cos * y - sin * x


def _coverage(distance, pixel):
  """Returns the fraction of a pixel inside, by the depth of its centre."""
  return (distance / pixel + 0.5).clip(0, 1)


def _between(bounds, fraction):
  low, high = bounds
  return low + (high - low) * fraction


@dataclasses.dataclass(eq=False)
class RoundelSource:
  """A source of roundels; see `sources` for what a source is.

  Attributes:
    split: its name, which seeds the roundels.
    indices: of the examples, in the split; example i is of class i % 24.
    rows, columns: size of the images in pixels.
  """

  split: str
  indices: list | range
  rows: int
  columns: int
  num_classes: int = len(CLASSES)
  class_names: tuple = tuple(
    f'{shape} {"".join(parted)}' for shape, *parted in CLASSES
  )

  def __post_init__(self):
    num_bytes = len(self) * self.rows * self.columns * 3
    self._caches = num_bytes <= _MAX_CACHED
    self._cache = {}  # Images by index: rendering one takes 0.1 ms or more.

  def __len__(self):
    return len(self.indices)

  def __getitem__(self, position):
    index = int(self.indices[position])
    label = index % len(CLASSES)
    image = self._cache.get(index)
    if image is None:
      image = self._draw(index, label)
      if self._caches:
        self._cache[index] = image
    return {'image': image, 'label': label}

  def _draw(self, index, label):
    key = zlib.crc32(self.split.encode())
    rng = np.random.Generator(np.random.Philox(key=key, counter=index << 64))
    image = render(draw_scene(label, rng), self.rows, self.columns)
    image += _NOISE * rng.standard_normal(image.shape)
    return image.clip(0, 255).astype(np.uint8)

  def where(self, position):
    return f'roundel {self.indices[position]} of {self.split}'

  def key(self, index):
    return self.where(index)

  def facts(self):
    yield f'roundels {self.split} {self.rows} {self.columns}'
    yield str(zlib.crc32(np.asarray(self.indices, np.int64)))


def build(data, split):
  """Returns the source of a split, or of a slice such as train[:512].

  A split has any name and is `data.num_examples` long.

  Raises:
    UserError: several splits are requested, or the slice is empty.
  """
  parts = slices.parse(split)
  if len(parts) > 1:
    raise errors.UserError(
      f'data.source=roundels: {split!r} joins splits; give one split, whose '
      'length is data.num_examples.'
    )
  ((name, bounds),) = parts
  rows, columns = schema.image_size(data)
  indices = range(data.num_examples)
  if bounds != (None, None):
    indices = slices.take(indices, bounds, split)
  return RoundelSource(name, indices, rows, columns)
