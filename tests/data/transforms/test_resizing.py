import cv2
import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.data.transforms import resizing


def sampled(image, rows, columns, kernel, reach):
  """Resize without antialiasing, pixel by pixel, from the kernel's formula."""
  for axis, size in enumerate((rows, columns)):
    length = image.shape[axis]
    lines = []
    for position in range(size):
      centre = (position + 0.5) * length / size - 0.5
      taps = [
        tap
        for tap in range(int(centre) - reach - 1, int(centre) + reach + 2)
        if 0 <= tap < length
      ]
      weights = np.array([kernel(abs(centre - tap)) for tap in taps])
      taken = image.take(taps, axis).astype(float)
      lines.append(np.tensordot(weights / weights.sum(), taken, (0, axis)))
    image = np.stack(lines, axis)
  return image.clip(0, 255)


def triangle(x):
  return max(0, 1 - x)


def keys(x):
  """Keys (1981), eq. 15."""
  if x < 1:
    return 1.5 * x**3 - 2.5 * x**2 + 1
  return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0


@pytest.fixture
def noise():
  return np.random.default_rng(0).integers(0, 256, (40, 61, 3), np.uint8)


@pytest.mark.parametrize('rows, columns', [(17, 90), (64, 48), (7, 5)])
@pytest.mark.parametrize(
  'method, kernel, reach', [('bilinear', triangle, 1), ('bicubic', keys, 2)]
)
def test_without_antialiasing_only_the_nearest_pixels_count(
  noise, rows, columns, method, kernel, reach
):
  resized = resizing.resize(noise, rows, columns, method)
  assert resized.shape == (rows, columns, 3) and resized.dtype == np.uint8
  wanted = sampled(noise, rows, columns, kernel, reach)
  # OpenCV computes uint8 with weights of 11 bits.
  assert np.abs(resized - wanted).max() <= 1


@pytest.mark.parametrize('method', ['bilinear', 'bicubic'])
def test_growing_images_agree_with_pillow(noise, method):
  # Pillow clips after the columns and again after the rows: no extremes.
  noise = noise // 2 + 64
  wanted = Image.fromarray(noise).resize(
    (122, 90), Image.Resampling[method.upper()]
  )
  resized = resizing.resize(noise, 90, 122, method)
  assert np.abs(resized.astype(int) - np.asarray(wanted)).max() <= 1


@pytest.mark.parametrize('method', ['bilinear', 'bicubic'])
def test_antialiasing_is_a_wider_kernel(noise, method):
  """A shrink by 4 is a kernel four times as wide, sampled at every pixel."""
  image = noise[:, :60]
  resized = resizing.resize(image, 10, 15, f'{method}_antialiased')
  kernel = {'bilinear': triangle, 'bicubic': keys}[method]
  wanted = sampled(image, 10, 15, lambda x: kernel(x / 4), 8)
  assert np.abs(resized - wanted).max() <= 1


def test_area_averages_all_pixels_of_the_new_one(noise):
  resized = resizing.resize(noise[:, :60], 10, 15, 'area')
  blocks = noise[:, :60].reshape(10, 4, 15, 4, 3).mean((1, 3))
  assert np.abs(resized - blocks).max() <= 0.51
  grown = resizing.resize(noise, 80, 90, 'area')
  np.testing.assert_array_equal(
    grown, resizing.resize(noise, 80, 90, 'bilinear')
  )


def test_slow_waves_look_alike_however_they_shrink(smooth):
  image = smooth(200, 300)
  area = resizing.resize(image, 100, 150, 'area').astype(int)
  for method in resizing.METHODS:
    other = resizing.resize(image, 100, 150, method)
    assert np.abs(area - other).max() <= 3, method


@pytest.mark.parametrize('method', resizing.METHODS)
def test_an_image_of_the_size_wanted_stays_as_it_is(noise, method):
  np.testing.assert_array_equal(resizing.resize(noise, 40, 61, method), noise)


@pytest.mark.parametrize('method', resizing.METHODS)
@pytest.mark.parametrize('size', [(1, 1), (2, 500), (7, 7)])
def test_any_size_becomes_any_other(size, method, smooth):
  resized = resizing.resize(smooth(*size), 16, 24, method)
  assert resized.shape == (16, 24, 3) and resized.dtype == np.uint8


def test_an_unknown_method_names_the_nearest(noise):
  with pytest.raises(errors.UserError, match=r'data.resize=.* mean bicubic'):
    resizing.resize(noise, 9, 9, 'bicubik')


def test_opencv_starts_no_threads_of_its_own():
  assert cv2.getNumThreads() == 1
