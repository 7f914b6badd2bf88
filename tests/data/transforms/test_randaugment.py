"""RandAugment against Pillow, or the formulas of the original code in NumPy."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from vit_jax.data.transforms import randaugment


class Sign:
  """A generator that always draws the same."""

  def __init__(self, value):
    self._value = value

  def random(self):
    return self._value


POSITIVE, NEGATIVE = Sign(0.0), Sign(0.9)
LEVELS = [0, 3, 10, 15, 20, 30]


@pytest.fixture
def image():
  """Patches in fading light, uint8 [60, 90, 3], 20 to 230."""
  patches = np.random.default_rng(0).uniform(20, 200, (6, 9, 3))
  light = np.linspace(0, 30, 90)[:, None]
  return (patches.repeat(10, 0).repeat(10, 1) + light).astype(np.uint8)


def apply(name, image, magnitude, rng=POSITIVE):
  result = randaugment.apply(name, image, magnitude, rng)
  assert result.shape == image.shape and result.dtype == np.uint8
  return result.astype(int)


def test_there_are_16_operations():
  assert len(randaugment.NAMES) == len(set(randaugment.NAMES)) == 16


@pytest.mark.parametrize('magnitude', LEVELS)
@pytest.mark.parametrize(
  'name, operation',
  [
    ('AutoContrast', ImageOps.autocontrast),
    ('Equalize', ImageOps.equalize),
    ('Invert', ImageOps.invert),
  ],
)
def test_operations_without_an_amount_agree_with_pillow(
  image, name, operation, magnitude
):
  wanted = np.asarray(operation(Image.fromarray(image)))
  assert np.abs(apply(name, image, magnitude) - wanted).max() <= 1


def test_images_of_one_colour_stay_as_they_are():
  flat = np.full((9, 9, 3), (10, 77, 255), np.uint8)
  for name in 'AutoContrast', 'Equalize':
    np.testing.assert_array_equal(apply(name, flat, 10), flat)


@pytest.mark.parametrize(
  'magnitude, bits',
  [(3, 1), (5, 2), (10, 4), (15, 6), (20, 8), (0, 1), (30, 1)],
)
def test_posterize_keeps_bits_and_beyond_eight_only_one(image, magnitude, bits):
  wanted = np.asarray(ImageOps.posterize(Image.fromarray(image), bits))
  np.testing.assert_array_equal(apply('Posterize', image, magnitude), wanted)


@pytest.mark.parametrize(
  'magnitude, threshold', [(0, 0), (3, 76), (10, 0), (15, 128), (20, 0)]
)
def test_solarize_counts_its_threshold_modulo_256(image, magnitude, threshold):
  wanted = np.asarray(ImageOps.solarize(Image.fromarray(image), threshold))
  np.testing.assert_array_equal(apply('Solarize', image, magnitude), wanted)


@pytest.mark.parametrize('magnitude', LEVELS)
def test_solarize_add_brightens_the_dark_half(image, magnitude):
  added = np.minimum(image.astype(int) + int(magnitude / 10 * 110), 255)
  wanted = np.where(image < 128, added, image)
  np.testing.assert_array_equal(apply('SolarizeAdd', image, magnitude), wanted)


def blend(degenerate, image, factor):
  mixed = degenerate + np.float32(factor) * (
    image.astype(np.float32) - degenerate
  )
  return np.trunc(mixed.clip(0, 255)).astype(int)


@pytest.mark.parametrize('magnitude', LEVELS)
def test_blends_are_those_of_the_original(image, magnitude):
  factor = magnitude / 10 * 1.8 + 0.1
  grey = image @ np.array([0.2989, 0.5870, 0.1140])
  grey = np.trunc(grey / 255 * 255.5)[..., None].repeat(3, -1)
  flat = np.full(image.shape, 60 * 90 // 256)
  for name, degenerate in (
    ('Color', grey),
    ('Contrast', flat),
    ('Brightness', np.zeros_like(flat)),
  ):
    wanted = blend(degenerate.astype(np.float32), image, factor)
    assert np.abs(apply(name, image, magnitude) - wanted).max() <= 1, name


@pytest.mark.parametrize(
  'rows, columns, value', [(200, 220, 171), (300, 300, 255)]
)
def test_contrast_fades_to_the_number_of_pixels(rows, columns, value):
  image = np.full((rows, columns, 3), 100, np.uint8)
  wanted = blend(np.float32(value), image, 0.1)
  np.testing.assert_array_equal(apply('Contrast', image, 0), wanted)


@pytest.mark.parametrize('magnitude', LEVELS)
def test_sharpness_agrees_with_pillow(image, magnitude):
  factor = magnitude / 10 * 1.8 + 0.1
  enhanced = ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor)
  difference = np.abs(
    apply('Sharpness', image, magnitude) - np.asarray(enhanced)
  )
  # What is cut off once in the smooth image counts |1 - factor| times.
  assert difference.max() <= 1 + abs(1 - factor)


@pytest.mark.parametrize('rng, sign', [(POSITIVE, 1), (NEGATIVE, -1)])
@pytest.mark.parametrize('magnitude', [3, 15, 30])
@pytest.mark.parametrize('name', randaugment.WARPS)
def test_warps_agree_with_pillow(image, name, magnitude, rng, sign):
  level = sign * magnitude / 10
  rows, columns = image.shape[:2]
  angle = np.radians(30 * level)
  cos, sin = np.cos(angle), np.sin(angle)
  x, y = (columns - 1) / 2, (rows - 1) / 2
  # Pillow's coordinates are of pixel edges: centres lie at + 0.5.
  a, b, c, d, e, f = {
    'Rotate': (
      cos,
      -sin,
      x - cos * x + sin * y,
      sin,
      cos,
      y - sin * x - cos * y,
    ),
    'ShearX': (1, 0.3 * level, 0, 0, 1, 0),
    'ShearY': (1, 0, 0, 0.3 * level, 1, 0),
    'TranslateX': (1, 0, 100 * level, 0, 1, 0),
    'TranslateY': (1, 0, 0, 0, 1, 100 * level),
  }[name]
  c, f = c + 0.5 - 0.5 * (a + b), f + 0.5 - 0.5 * (d + e)
  wanted = Image.fromarray(image).transform(
    (columns, rows),
    Image.Transform.AFFINE,
    (a, b, c, d, e, f),
    Image.Resampling.NEAREST,
    fillcolor=randaugment.GREY,
  )
  result = apply(name, image, magnitude, rng)
  # Where a position is half-way between pixels, either may be taken.
  assert np.mean((result != np.asarray(wanted)).any(-1)) < 0.03


def test_cutout_paints_a_grey_square_anywhere():
  image = np.zeros((60, 90, 3), np.uint8)
  rng = np.random.default_rng(0)
  painted = np.zeros((60, 90))
  for _ in range(300):
    result = apply('Cutout', image, 5, rng)
    assert set(np.unique(result)) == {0, 128}
    rows, columns = np.nonzero(result[..., 0])
    assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert len(rows) <= 40 * 40 and len(rows) >= 20 * 20
    painted += result[..., 0] > 0
  assert painted.min() > 0
  assert not image.any()


def test_as_many_operations_as_layers_each_as_often(image, monkeypatch):
  applied = []

  def record(name, image, magnitude, rng):
    applied.append((name, magnitude))
    return image

  monkeypatch.setattr(randaugment, 'apply', record)
  rng = np.random.default_rng(0)
  for _ in range(800):
    randaugment.RandAugment(2, 15)(image, rng)
  assert len(applied) == 1600
  counts = [applied.count((name, 15)) for name in randaugment.NAMES]
  assert sum(counts) == 1600 and min(counts) > 60 and max(counts) < 150


def test_the_same_generator_gives_the_same_image(image):
  results = [
    randaugment.RandAugment(3, 15)(image, np.random.default_rng(seed)).tobytes()
    for seed in (1, 1, 2)
  ]
  assert results[0] == results[1] != results[2]
