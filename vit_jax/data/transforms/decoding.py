"""Image files to pixels: any format, always uint8 RGB.

TurboJPEG decodes JPEG, several times faster than alternatives, with its fast
inverse DCT: the pixels are those of `tf.image.decode_jpeg`, with which the
released models were trained and evaluated. Pillow decodes the other formats.
Transparency is dropped, of an animation the first frame is used, and the EXIF
orientation is only applied on request: the pipelines of the released models
ignored it.
"""

import io
import threading

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from vit_jax import errors
from vit_jax.data import image_files

# A small file can claim far more. With it, a thread takes up to 500 MB: 150 for
# the result, the rest for what decoders hold meanwhile.
MAX_PIXELS = 50_000_000
# Their decoders hold several copies, or 32 bits of each colour: half as many.
_HEAVY = ('WEBP', 'AVIF', 'JPEG2000')
_BAND = 1 << 20  # Pixels that are converted at once.

# Fresh memory costs a fifth of the decoding: each page is cleared and mapped.
_MAX_SCRATCH = 3 * 2**22  # Bytes of a buffer that each thread reuses.
_scratch = threading.local()

# PNG and TIFF. Values of a PGM are a fraction of the largest that it names.
_MAY_HAVE_16_BITS = (b'\x89PNG', b'II*\0', b'MM\0*')
_INKS = ('CMYK', 'YCCK')  # TurboJPEG and Pillow differ in what they become.

MAX_SCANS = 100  # Of a progressive JPEG; libjpeg writes ten.
MAX_SCANNED = 20 * MAX_PIXELS  # Pixels times scans: seconds of decoding.
_SCAN = b'\xff\xda'  # How each begins; never part of one.

# Tags of TIFF.
_TILE_COLUMNS, _TILE_ROWS, _SAMPLES = 322, 323, 277
_STRIPS, _TILES = 273, 324

_DECODED = (np.ndarray, Image.Image)  # No bytes any more.
_ORIENTATION = 0x0112  # The tag of EXIF; its values are those below.
_UPRIGHT = {
  2: lambda image: image[:, ::-1],
  3: lambda image: image[::-1, ::-1],
  4: lambda image: image[::-1],
  5: lambda image: image.swapaxes(0, 1),
  6: lambda image: np.rot90(image, -1),
  7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
  8: lambda image: np.rot90(image),
}


def decode(
  image,
  max_pixels=MAX_PIXELS,
  exif_orientation=False,
  shrink=1,
  transient=False,
  exact_jpeg=False,
):
  """Returns an image as uint8 [rows, columns, 3].

  Args:
    image: the bytes of an image file, an image as Pillow has opened it, or
      uint8 [rows, columns], [rows, columns, 1] or [rows, columns, 3].
    max_pixels: more rows times columns than this are refused undecoded.
    exif_orientation: turns the image as its EXIF orientation says.
    shrink: 2, 4 or 8 decodes a JPEG to that fraction of its sides (rounded
      up), which is faster and averages pixels; other formats are not shrunk.
    transient: the result may be overwritten by the next image of this thread.
    exact_jpeg: decodes a JPEG with the accurate inverse DCT, to the pixels of
      Pillow, of which timm's and transformers' are made; the fast one differs
      by one level on average, by about 20 at most.

  Raises:
    UserError: the bytes are not a readable image, or it is too large.
  """
  if isinstance(image, np.ndarray):
    return _from_array(image)
  if isinstance(image, Image.Image):
    pixels = _from_pillow(image, max_pixels)
  else:
    pixels = _decode_jpeg(image, max_pixels, shrink, transient, exact_jpeg)
  if pixels is None:
    pixels = _decode_with_pillow(image, max_pixels)
  if exif_orientation:
    turn = _UPRIGHT.get(_orientation(image))
    pixels = turn(pixels) if turn else pixels
  return pixels


def jpeg_size(image):
  """Returns (rows, columns) as the header of a JPEG says, else None."""
  header = _jpeg_header(image)
  return header and header[:2]


def size(image):
  """Returns (rows, columns) of an image file by its header, or of an array.

  None: the header can't be read.
  """
  if isinstance(image, np.ndarray):
    return image.shape[:2]
  found = jpeg_size(image)
  if found is not None:
    return found
  try:
    with _open(image) as file:
      return file.height, file.width
  except Exception:  # Pillow raises all kinds; it is told when it is decoded.
    return None


def _jpeg_header(image):
  """Returns (rows, columns, color space, subsampling) of a JPEG, else None."""
  if isinstance(image, _DECODED) or not simplejpeg.is_jpeg(image):
    return None
  try:
    return simplejpeg.decode_jpeg_header(image)
  except ValueError:
    return None


def bits_used(image, max_pixels=MAX_PIXELS):
  """Returns how many of 16 bits the values of an image need; None: of no 16.

  Args:
    image: the bytes of an image file, or an array.
    max_pixels: larger images are not looked at.
  """
  if isinstance(image, _DECODED) or not image.startswith(_MAY_HAVE_16_BITS):
    return None
  try:
    with _open(image) as file:
      check_size(file.height, file.width, max_pixels)
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
  except Exception:  # It is told when the image is read.
    return None
  if pixels is None or pixels.dtype != np.uint16:
    return None
  return int(pixels.max()).bit_length()


def check_size(rows, columns, max_pixels=MAX_PIXELS):
  """Raises UserError where rows times columns are more than `max_pixels`."""
  if rows * columns > max_pixels:
    raise errors.UserError(
      f'An image of {rows} x {columns} pixels is too large: no more than '
      f'{max_pixels} pixels are decoded or resized to.'
    )


def check_scans(image, num_pixels):
  """Raises UserError for a JPEG that is refined more often than any is.

  Each scan takes as long as the whole image, and only a few bytes.

  Args:
    image: the bytes of the file.
    num_pixels: of the image, rows times columns.
  """
  count = image.count(_SCAN)
  limit = min(MAX_SCANS, MAX_SCANNED // max(1, num_pixels))
  if count > limit:
    raise errors.UserError(
      f'A JPEG of {count} scans, of which photographs have a dozen; no more '
      f'than {limit} are decoded of {num_pixels:,} pixels.'
    )


def _from_array(image):
  if image.ndim == 2:
    image = image[..., None]
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
    raise errors.UserError(
      f'An image is {image.dtype} {list(image.shape)}; it must be uint8 '
      '[rows, columns], with 1 or 3 channels or none.'
    )
  return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def _decode_jpeg(image, max_pixels, shrink, transient, exact):
  """Returns the pixels; None where Pillow should decode the bytes."""
  header = _jpeg_header(image)
  if header is None:
    return None
  size, color_space = header[:2], header[2]
  check_size(*size, max_pixels)
  if exact and color_space in _INKS:
    return None
  check_scans(image, size[0] * size[1])
  rows, columns = (-(-side // shrink) for side in size)
  try:
    return simplejpeg.decode_jpeg(
      image,
      fastdct=not exact,
      min_height=rows,
      min_width=columns,
      buffer=_buffer(rows * columns * 3) if transient else None,
    )
  except ValueError:
    # TurboJPEG treats stray bytes, which many photographs have, as errors;
    # Pillow distinguishes them from missing ones.
    return None


def _buffer(size):
  """Returns this thread's buffer, None where it would be too large."""
  if size > _MAX_SCRATCH:
    return None
  if getattr(_scratch, 'size', 0) < size:
    _scratch.buffer, _scratch.size = np.empty(size, np.uint8), size
  return _scratch.buffer


def _orientation(image):
  """Returns the EXIF orientation, 1 to 8; 1, upright, where there is none."""
  try:
    if isinstance(image, Image.Image):
      return image.getexif().get(_ORIENTATION, 1)
    with _open(image) as file:
      return file.getexif().get(_ORIENTATION, 1)
  except Exception:  # Broken metadata don't make the pixels unusable.
    return 1


def _open(image):
  """Returns the file that Pillow makes of bytes, undecoded."""
  return Image.open(io.BytesIO(image), formats=image_files.FORMATS)


def _from_pillow(image, max_pixels):
  try:
    check_size(image.height, image.width, max_pixels)
    return _pixels(image)
  except errors.UserError:
    raise
  except Exception as error:  # It is decoded only now, by any decoder.
    raise errors.UserError(f'A broken image: {error}') from error


def _decode_with_pillow(image, max_pixels):
  try:
    with _open(image) as file:
      is_heavy = file.format in _HEAVY
      limit = min(max_pixels, MAX_PIXELS // (2 if is_heavy else 1))
      check_size(file.height, file.width, limit)
      _check_pieces(file, max_pixels)
      return _pixels(file)
  except errors.UserError:
    raise
  except Image.UnidentifiedImageError as error:
    raise errors.UserError('Not an image of any known format.') from error
  # Pillow's decoders raise all kinds of errors on broken bytes.
  except Exception as error:
    raise errors.UserError(f'A broken image: {error}') from error


def _pixels(file):
  """Returns a file of Pillow as uint8 [rows, columns, 3].

  Large ones are converted band by band: Pillow holds four bytes of a pixel, and
  would hold them three times.
  """
  rows = max(1, _BAND // file.width)
  if rows >= file.height:
    return np.asarray(_to_rgb(file))
  pixels = np.empty((file.height, file.width, 3), np.uint8)
  for top in range(0, file.height, rows):
    bottom = min(top + rows, file.height)
    band = file.crop((0, top, file.width, bottom))
    pixels[top:bottom] = np.asarray(_to_rgb(band, file.format))
  return pixels


def _check_pieces(file, max_pixels):
  """Raises UserError for a TIFF whose pieces are larger or more than fit.

  Each is decoded whole, whatever of it is in the image.
  """
  if file.format != 'TIFF':
    return
  tags = file.tag_v2
  rows, columns = tags.get(_TILE_ROWS, 1), tags.get(_TILE_COLUMNS, 1)
  samples = tags.get(_SAMPLES, 1)
  offsets = tags.get(_TILES) or tags.get(_STRIPS) or ()
  count = len(offsets) if isinstance(offsets, tuple | list) else 1
  if rows * columns > max_pixels or samples > 8 or count > max_pixels // 64:
    raise errors.UserError(
      f'A TIFF of {count} pieces of {rows} x {columns} pixels, each of '
      f'{samples} samples, is none of a photograph.'
    )


def _to_rgb(file, file_format=None):
  # 16 bits of grey; Pillow reads 16 bits of colour by their upper 8, too. Of
  # PGM it stretches what is beyond 8 bits to 16 bits.
  if file.mode.startswith('I;16') or (
    file.mode,
    file_format or file.format,
  ) == ('I', 'PPM'):
    return Image.fromarray((np.asarray(file) >> 8).astype(np.uint8)).convert(
      'RGB'
    )
  if file.mode in ('I', 'F'):
    raise errors.UserError(
      'The image has 32 bits per pixel, whose range is not known; 8 or 16 are.'
    )
  return file.convert('RGB')
