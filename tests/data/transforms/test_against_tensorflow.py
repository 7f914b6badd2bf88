"""Host transforms against the TensorFlow operations that trained the models.

Skipped where TensorFlow is not installed, which nothing else needs.
"""

import io
import math

import numpy as np
import pytest
from PIL import Image

from vit_jax.data.transforms import decoding, randaugment, resizing

tf = pytest.importorskip('tensorflow')


@pytest.fixture
def image():
  """Patches in fading light, uint8 [60, 90, 3]."""
  patches = np.random.default_rng(0).uniform(0, 200, (6, 9, 3))
  light = np.linspace(0, 55, 90)[:, None]
  return (patches.repeat(10, 0).repeat(10, 1) + light).astype(np.uint8)


class Sign:
  """A generator that always draws the same."""

  def __init__(self, sign):
    self._sign = sign

  def random(self):
    return 0.0 if self._sign > 0 else 0.9


@pytest.mark.parametrize('size', [(30, 41), (90, 140), (17, 200)])
@pytest.mark.parametrize('method', ['bilinear', 'bicubic', 'area'])
@pytest.mark.parametrize('antialias', [False, True])
def test_resizing_is_that_of_tf_image(image, method, size, antialias):
  if method == 'area':
    if antialias or size[0] > 60 or size[1] > 90:
      pytest.skip('area antialiases anyway, and is for shrinking')
    # TF's kernel takes whole pixels only where sizes divide.
    image, size = image[:, :84], (30, 42)
  # Pillow clips between its two passes; TF does not.
  wanted = tf.image.resize(image, size, method, antialias=antialias)
  wanted = np.clip(wanted.numpy(), 0, 255)
  name = f'{method}_antialiased' if antialias else method
  result = resizing.resize(image, *size, name)
  tolerance = 8 if name == 'bicubic_antialiased' else 1.01
  assert np.abs(result - wanted).max() <= tolerance
  assert np.abs(result - wanted).mean() < 0.5


@pytest.mark.parametrize('quality, subsampling', [(95, 0), (90, 2), (75, 2)])
def test_decoding_is_that_of_tf_image(image, quality, subsampling):
  file = io.BytesIO()
  Image.fromarray(image).save(
    file, 'JPEG', quality=quality, subsampling=subsampling
  )
  result = decoding.decode(file.getvalue()).astype(int)
  wanted = tf.image.decode_jpeg(file.getvalue(), channels=3).numpy()
  np.testing.assert_array_equal(result, wanted)


def blend(degenerate, image, factor):
  degenerate, image = (
    tf.cast(each, tf.float32) for each in (degenerate, image)
  )
  mixed = degenerate + factor * (image - degenerate)
  return tf.cast(tf.clip_by_value(mixed, 0.0, 255.0), tf.uint8)


def smooth(image):
  kernel = tf.constant([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
  kernel = tf.tile(kernel[..., None, None], [1, 1, 3, 1])
  pixels = tf.cast(image, tf.float32)[None]
  inner = tf.nn.depthwise_conv2d(pixels, kernel, [1, 1, 1, 1], 'VALID')
  result = image.copy()
  result[1:-1, 1:-1] = tf.cast(inner[0], tf.uint8).numpy()
  return result


@pytest.mark.parametrize('magnitude', [0, 5, 10, 15, 20, 30])
def test_values_are_changed_as_tf_changes_them(image, magnitude):
  level = magnitude / 10
  factor = level * 1.8 + 0.1
  shift = 8 - int(level * 4)
  threshold = int(level * 256)
  grey = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))
  added = tf.cast(image, tf.int64) + int(level * 110)
  added = tf.cast(tf.clip_by_value(added, 0, 255), tf.uint8)
  for name, wanted, tolerance in (
    (
      'Posterize',
      tf.bitwise.left_shift(tf.bitwise.right_shift(image, shift), shift),
      0,
    ),
    # The constant is made a uint8, which wraps.
    (
      'Solarize',
      tf.where(
        image < tf.constant(threshold % 256, tf.uint8), image, 255 - image
      ),
      0,
    ),
    ('SolarizeAdd', tf.where(image < 128, added, image), 0),
    ('Color', blend(grey, image, factor), 1),
    ('Contrast', blend(np.full_like(image, 60 * 90 // 256), image, factor), 1),
    ('Brightness', blend(np.zeros_like(image), image, factor), 1),
    ('Sharpness', blend(smooth(image), image, factor), 1 + abs(1 - factor)),
  ):
    result = randaugment.apply(name, image, magnitude, Sign(1))
    difference = np.abs(result.astype(int) - np.asarray(wanted).astype(int))
    assert difference.max() <= tolerance, name


def test_a_threshold_beyond_a_byte_wraps_in_tf(image):
  for threshold in 256, 384, 512:
    pixels = tf.constant(image)
    wanted = tf.where(pixels < threshold, pixels, 255 - pixels).numpy()
    result = randaugment.apply('Solarize', image, threshold / 25.6, Sign(1))
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize('sign', [1, -1])
@pytest.mark.parametrize('magnitude', [3, 15, 30])
@pytest.mark.parametrize('name', randaugment.WARPS)
def test_warps_are_projections_of_tf(image, name, magnitude, sign):
  level = sign * magnitude / 10
  rows, columns = image.shape[:2]
  angle = math.radians(30 * level)
  cos, sin = math.cos(angle), math.sin(angle)
  # As tf-addons makes them of an angle about the centre, or a translation.
  x = ((columns - 1) - (cos * (columns - 1) - sin * (rows - 1))) / 2
  y = ((rows - 1) - (sin * (columns - 1) + cos * (rows - 1))) / 2
  matrix = {
    'Rotate': [cos, -sin, x, sin, cos, y],
    'ShearX': [1, 0.3 * level, 0, 0, 1, 0],
    'ShearY': [1, 0, 0, 0.3 * level, 1, 0],
    'TranslateX': [1, 0, 100 * level, 0, 1, 0],
    'TranslateY': [1, 0, 0, 0, 1, 100 * level],
  }[name]
  wanted = tf.raw_ops.ImageProjectiveTransformV3(
    images=image[None],
    transforms=tf.constant([[*matrix, 0, 0]], tf.float32),
    output_shape=[rows, columns],
    fill_value=128.0,
    interpolation='NEAREST',
    fill_mode='CONSTANT',
  )[0].numpy()
  result = randaugment.apply(name, image, magnitude, Sign(sign))
  # Where a position is half-way between pixels, either may be taken.
  assert np.mean((result != wanted).any(-1)) < 0.05
