import io
import struct
import subprocess
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageFile, ImageOps

from vit_jax import errors
from vit_jax.data.transforms import decoding

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
    ('JPEG', {'quality': 98, 'subsampling': 0}, 6),
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


@pytest.mark.parametrize('format', ['PNG', 'TIFF', 'PPM', 'JPEG2000'])
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


@pytest.mark.parametrize('format', ['EPS', 'ICO', 'TGA', 'PCX', 'SGI', 'DDS'])
def test_formats_beyond_the_list_are_not_tried(format):
  with pytest.raises(errors.UserError, match=r'Not an image of any known'):
    decoding.decode(encode(PICTURE.resize((32, 32)), format))


def test_a_postscript_file_starts_no_program(monkeypatch):
  def gone(*_, **__):
    raise AssertionError('Ghostscript was started')

  monkeypatch.setattr(subprocess, 'Popen', gone)
  monkeypatch.setattr(subprocess, 'check_call', gone)
  monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', gone)
  for orientation in False, True:
    with pytest.raises(errors.UserError, match=r'Not an image'):
      decoding.decode(encode(PICTURE, 'EPS'), exif_orientation=orientation)


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
  assert np.abs(image.astype(int) - PIXELS).max() <= 6


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


def test_an_animation_gives_its_first_picture():
  data = encode(
    PICTURE,
    'GIF',
    save_all=True,
    append_images=[Image.new('RGB', (50, 40), 'white')] * 2,
  )
  wanted = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
  np.testing.assert_array_equal(decoding.decode(data), wanted)
  assert wanted.mean() < 200


@pytest.mark.parametrize('format', ['JPEG', 'PNG'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_orientation_is_applied_on_request(format, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  options = {'quality': 98, 'subsampling': 0} if format == 'JPEG' else {}
  data = encode(PICTURE, format, exif=exif, **options)
  stored = decoding.decode(data)
  assert np.abs(stored.astype(int) - PIXELS).max() <= 6
  wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
  exif_orientation = decoding.decode(data, exif_orientation=True)
  assert exif_orientation.shape == wanted.shape
  # Pillow decodes by another inverse transform.
  assert np.abs(exif_orientation.astype(int) - wanted).max() <= 4


@pytest.mark.parametrize('exif', [None, b'Exif\0\0nonsense', Image.Exif()])
def test_without_an_orientation_an_image_is_upright(exif):
  data = encode(PICTURE, 'JPEG', **({} if exif is None else {'exif': exif}))
  np.testing.assert_array_equal(
    decoding.decode(data, exif_orientation=True), decoding.decode(data)
  )


@pytest.mark.parametrize('shrink', [2, 4, 8])
def test_a_jpeg_may_be_decoded_small(shrink):
  flat = Image.new('RGB', (83, 61), (10, 200, 90))
  small = decoding.decode(encode(flat, 'JPEG'), shrink=shrink)
  assert small.shape == (-(-61 // shrink), -(-83 // shrink), 3)
  assert np.abs(small.astype(int) - (10, 200, 90)).max() <= 3
  assert decoding.decode(encode(flat, 'PNG'), shrink=shrink).shape[:2] == (
    61,
    83,
  )


def test_memory_that_is_used_again_fits_images_of_every_size(monkeypatch):
  monkeypatch.setattr(decoding, '_decode_with_pillow', None)
  for side in 4, 400, 40, 2100:  # The last is too large to be kept.
    data = encode(Image.new('RGB', (side, side), (10, 200, 90)), 'JPEG')
    image = decoding.decode(data, transient=True)
    assert image.shape == (side, side, 3)
    np.testing.assert_array_equal(image, decoding.decode(data))


def test_the_size_of_a_jpeg_is_read_from_its_header():
  data = encode(PICTURE, 'JPEG')
  assert decoding.jpeg_size(data) == (40, 50)
  assert decoding.jpeg_size(data[:-20]) is None  # For Pillow to look at.
  assert decoding.jpeg_size(encode(PICTURE, 'PNG')) is None
  assert decoding.jpeg_size(b'\xff\xd8\xff' + b'x' * 99) is None
  assert decoding.jpeg_size(PIXELS) is None


@pytest.mark.parametrize(
  ('side', 'problem'),
  [(8_000, 'too large'), (20_000, 'exceeds limit')],  # Ours, Pillow's.
)
def test_a_huge_image_is_refused_before_it_is_decoded(
  monkeypatch, side, problem
):
  """192 MB or 1.2 GB decoded, claimed by a few bytes."""
  data = bytearray(encode(Image.new('1', (64, 64)), 'PNG'))
  data[16:24] = struct.pack('>II', side, side)
  data[29:33] = struct.pack('>I', zlib.crc32(bytes(data[12:29])))
  monkeypatch.setattr(ImageFile.ImageFile, 'load', None)
  tracemalloc.start()
  with pytest.raises(errors.UserError, match=problem):
    decoding.decode(bytes(data))
  assert tracemalloc.get_traced_memory()[1] < 1e6
  tracemalloc.stop()


@pytest.mark.parametrize('format', ['JPEG', 'PNG'])
def test_an_image_of_one_pixel_is_an_image(format):
  data = encode(Image.new('RGB', (1, 1), (9, 9, 9)), format)
  assert np.abs(decoding.decode(data).astype(int) - 9).max() <= 1


def test_a_file_is_what_it_holds_not_what_it_is_called(tmp_path):
  path = tmp_path / 'photo.png'
  path.write_bytes(encode(PICTURE, 'JPEG'))
  assert decoding.decode(path.read_bytes()).shape == (40, 50, 3)


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'I;16'])
def test_bands_give_the_pixels_of_the_whole(mode, monkeypatch):
  picture = PICTURE.convert('L') if mode == 'I;16' else PICTURE
  data = encode(picture.convert(mode), 'PNG')
  whole = decoding.decode(data)
  monkeypatch.setattr(decoding, '_BAND', 7 * PICTURE.width)
  np.testing.assert_array_equal(decoding.decode(data), whole)


@pytest.mark.parametrize(
  ('count', 'num_pixels', 'is_read'),
  [
    (100, 10_000_000, True),
    (101, 1, False),
    (20, decoding.MAX_PIXELS, True),
    (21, decoding.MAX_PIXELS, False),
  ],
)
def test_work_on_an_image_is_bounded(count, num_pixels, is_read):
  image = b'\xff\xda\x00' * count
  if is_read:
    decoding.check_scans(image, num_pixels)
    return
  with pytest.raises(errors.UserError, match=f'A JPEG of {count} scans'):
    decoding.check_scans(image, num_pixels)
