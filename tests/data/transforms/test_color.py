import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from vit_jax.data.transforms import color


@pytest.fixture
def image():
  """Patches of colour, uint8 [48, 64, 3]."""
  patches = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
  return patches.repeat(8, 0).repeat(8, 1)


class Drawn:
  """A generator whose uniform draws are those given."""

  def __init__(self, *values, order=(0, 1, 2)):
    self._values = list(values)
    self._order = np.array(order)

  def random(self):
    return self._values.pop(0)

  def uniform(self, low, high):
    return low + (high - low) * self._values.pop(0)

  def permutation(self, _):
    return self._order


@pytest.mark.parametrize('draw', [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(
  'strengths, enhance',
  [
    ((0.8, 0, 0), ImageEnhance.Brightness),
    ((0, 0.8, 0), ImageEnhance.Contrast),
    ((0, 0, 0.8), ImageEnhance.Color),
  ],
)
def test_jitter_agrees_with_pillow(image, strengths, enhance, draw):
  factor = 1 + 0.8 * (2 * draw - 1)
  wanted = enhance(Image.fromarray(image)).enhance(factor)
  jittered = color.Jitter(*strengths)(image, Drawn(draw, draw, draw))
  # Greys differ by 1 in rounding, and factors of up to 1.8 tell.
  assert np.abs(jittered.astype(int) - np.asarray(wanted)).max() <= 2


def test_jitter_comes_in_any_order(image):
  jitter = color.Jitter(0.9, 0.9, 0.9)
  results = {
    jitter(image, Drawn(0.9, 0.1, 0.7, order=order)).tobytes()
    for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0))
  }
  assert len(results) == 3


def test_a_share_of_the_images_turns_grey(image):
  rng = np.random.default_rng(0)
  results = [color.Grey(0.3)(image, rng) for _ in range(500)]
  is_grey = [np.ptp(result, axis=-1).max() == 0 for result in results]
  assert abs(np.mean(is_grey) - 0.3) < 0.07
  grey = results[is_grey.index(True)]
  wanted = np.asarray(Image.fromarray(image).convert('L'))
  assert np.abs(grey[..., 0].astype(int) - wanted).max() <= 1
  np.testing.assert_array_equal(results[is_grey.index(False)], image)


@pytest.mark.parametrize('threshold', [0, 100, 128, 256])
def test_solarize_agrees_with_pillow(image, threshold):
  wanted = ImageOps.solarize(Image.fromarray(image), threshold)
  result = color.Solarize(threshold)(image)
  np.testing.assert_array_equal(result, np.asarray(wanted))


@pytest.mark.parametrize('sigma', [0.1, 0.3, 1.0, 2.0])
def test_blur_agrees_with_scipy(image, sigma):
  wanted = ndimage.gaussian_filter(
    image.astype(float), (sigma, sigma, 0), mode='nearest', truncate=3
  )
  result = color.Blur(sigma, sigma)(image, np.random.default_rng(0))
  # OpenCV's weights have 8 bits.
  assert np.abs(result - wanted).max() <= 2


def test_each_choice_is_made_as_often():
  choices = tuple(lambda image, rng, i=i: i for i in range(3))
  rng = np.random.default_rng(0)
  made = [color.OneOf(choices)(None, rng) for _ in range(900)]
  assert np.all(np.abs(np.bincount(made) - 300) < 60)


def test_erasing_fills_rectangles_of_the_areas_of_the_paper():
  image = np.zeros((60, 80, 3), np.uint8)
  erase, rng = color.Erase(0.5), np.random.default_rng(0)
  areas, aspects = [], []
  for _ in range(600):
    changed = erase(image, rng).any(-1)
    if changed.any():
      rows, columns = np.nonzero(changed)
      height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
      areas.append(height * width / 4800)
      if height < 60 and width < 80:
        aspects.append(width / height)
  assert not image.any()
  assert abs(len(areas) / 600 - 0.5) < 0.07
  assert min(areas) > 0.01 and max(areas) < 0.42
  assert abs(np.mean(areas) - 0.2) < 0.03
  assert min(aspects) > 0.25 and max(aspects) < 4
  assert abs(np.mean(np.log(aspects))) < 0.15


def test_three_augment_changes_every_image(image):
  rng = np.random.default_rng(0)
  for _ in range(20):
    result = image
    for transform in color.THREE_AUGMENT:
      result = transform(result, rng)
    assert result.shape == image.shape and result.dtype == np.uint8
    assert (result != image).any()
