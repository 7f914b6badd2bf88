import io

import cv2
import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.data import decoding

ROWS, COLUMNS = np.mgrid[:40, :50]
PIXELS = np.stack([ROWS * 6, COLUMNS * 5, ROWS + COLUMNS], -1).astype(np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encode(picture, format, **options):
  file = io.BytesIO()
  picture.save(file, format, **options)
  return file.getvalue()


@pytest.mark.parametrize(
  'format, options, tolerance',
  [
    ('PNG', {}, 0),
    ('BMP', {}, 0),
    ('TIFF', {'compression': 'tiff_lzw'}, 0),
    ('WEBP', {'lossless': True}, 0),
    ('WEBP', {'quality': 95}, 12),
    ('JPEG', {'quality': 98, 'subsampling': 0}, 4),
    ('JPEG', {'quality': 98, 'progressive': True}, 8),
  ],
)
def test_colours_survive_every_format(format, options, tolerance):
  image = decoding.decode(encode(PICTURE, format, **options))
  assert image.shape == (40, 50, 3) and image.dtype == np.uint8
  assert np.abs(image.astype(int) - PIXELS).max() <= tolerance


@pytest.mark.parametrize(
  'mode, format',
  [
    ('L', 'JPEG'),
    ('L', 'PNG'),
    ('LA', 'PNG'),
    ('1', 'PNG'),
    ('P', 'PNG'),
    ('P', 'GIF'),
    ('RGBA', 'PNG'),
    ('RGBA', 'WEBP'),
    ('CMYK', 'JPEG'),
    ('CMYK', 'TIFF'),
  ],
)
def test_every_mode_becomes_the_rgb_that_pillow_makes_of_it(mode, format):
  picture = PICTURE.convert(mode)
  data = encode(
    picture, format, **({'lossless': True} if 'W' in format else {})
  )
  wanted = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
  image = decoding.decode(data)
  assert image.shape == (40, 50, 3) and image.dtype == np.uint8
  assert np.abs(image.astype(int) - wanted).max() <= 1
  assert (
    np.abs(image.astype(int) - np.asarray(picture.convert('RGB'))).max() < 7
  )


def test_transparency_is_dropped_and_the_colour_below_it_kept():
  alpha = np.full((40, 50, 1), 0, np.uint8)
  picture = Image.fromarray(np.concatenate([PIXELS, alpha], -1))
  np.testing.assert_array_equal(decoding.decode(encode(picture, 'PNG')), PIXELS)


@pytest.mark.parametrize('format', ['PNG', 'TIFF'])
def test_16_bits_of_grey_become_their_upper_8(format):
  grey = (ROWS * 1600 + COLUMNS).astype(np.uint16)
  image = decoding.decode(encode(Image.fromarray(grey), format))
  np.testing.assert_array_equal(
    image, np.repeat((grey // 256)[..., None], 3, -1)
  )


def test_16_bits_of_colour_become_their_upper_8():
  colours = PIXELS.astype(np.uint16) * 256 + 77
  data = cv2.imencode('.png', colours[..., ::-1])[1].tobytes()
  np.testing.assert_array_equal(decoding.decode(data), PIXELS)


def test_32_bits_have_no_known_range():
  data = encode(Image.fromarray(ROWS.astype(np.float32)), 'TIFF')
  with pytest.raises(errors.UserError, match=r'32 bits per pixel'):
    decoding.decode(data)


def test_arrays_become_rgb():
  np.testing.assert_array_equal(decoding.decode(PIXELS), PIXELS)
  grey = PIXELS[..., 1]
  for image in grey, grey[..., None]:
    decoded = decoding.decode(image)
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, -1))
  for image in PIXELS / 255, PIXELS[..., :2], PIXELS[0, 0]:
    with pytest.raises(errors.UserError, match=r'it must be uint8'):
      decoding.decode(image)


@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'WEBP', 'GIF', 'TIFF'])
def test_a_truncated_image_is_an_error(format):
  data = encode(PICTURE, format)
  with pytest.raises(errors.UserError, match=r'broken image|Not an image'):
    decoding.decode(data[: len(data) // 2])


@pytest.mark.parametrize('data', [b'', b'hello', b'\xff\xd8\xff' + b'x' * 99])
def test_bytes_of_something_else_are_an_error(data):
  with pytest.raises(errors.UserError, match=r'Not an image'):
    decoding.decode(data)


def test_stray_bytes_in_a_jpeg_do_no_harm():
  data = encode(PICTURE, 'JPEG', quality=98, subsampling=0)
  image = decoding.decode(data[:-2] + b'stray' + data[-2:])
  assert np.abs(image.astype(int) - PIXELS).max() <= 4


@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'WEBP'])
def test_too_many_pixels_are_refused_before_decoding(format, monkeypatch):
  data = encode(PICTURE, format)
  assert decoding.decode(data, max_pixels=2000).shape == (40, 50, 3)
  monkeypatch.setattr(Image.Image, 'convert', None)
  monkeypatch.setattr(decoding.simplejpeg, 'decode_jpeg', None)
  with pytest.raises(errors.UserError, match=r'40 x 50 pixels is too large'):
    decoding.decode(data, max_pixels=1999)


def test_a_tiny_file_that_claims_a_huge_image_is_refused():
  data = bytearray(encode(Image.new('1', (8, 8)), 'BMP'))
  data[18:26] = np.array([100_000, 100_000], '<i4').tobytes()
  with pytest.raises(errors.UserError, match=r'too large|exceeds limit'):
    decoding.decode(bytes(data))
