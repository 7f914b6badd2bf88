"""Image files to pixels: any format, always uint8 RGB.

TurboJPEG reads JPEG, several times faster than the rest; Pillow reads the other
formats. Transparency is dropped and the orientation that a camera notes is not
applied, as in the pipelines that trained the released models.
"""

import io

import numpy as np
import simplejpeg
from PIL import Image

from vit_jax import errors

MAX_PIXELS = 2**26  # 200 MB decoded; a small file can claim far more.


def decode(image, max_pixels=MAX_PIXELS):
  """Returns an image as uint8 [rows, columns, 3].

  Args:
    image: the bytes of an image file, or uint8 [rows, columns], [rows,
      columns, 1] or [rows, columns, 3].
    max_pixels: more rows times columns than this are refused undecoded.

  Raises:
    UserError: the bytes are no image that can be read, or a too large one.
  """
  if isinstance(image, np.ndarray):
    return _from_array(image)
  if simplejpeg.is_jpeg(image):
    try:
      rows, columns, _, _ = simplejpeg.decode_jpeg_header(image)
      check_size(rows, columns, max_pixels)
      return simplejpeg.decode_jpeg(image)
    except errors.UserError:
      raise
    except ValueError:
      # TurboJPEG counts stray bytes, which many a photograph has, as errors;
      # Pillow tells them from missing ones.
      pass
  return _decode_with_pillow(image, max_pixels)


def check_size(rows, columns, max_pixels=MAX_PIXELS):
  """Raises UserError where rows times columns are more than `max_pixels`."""
  if rows * columns > max_pixels:
    raise errors.UserError(
      f'An image of {rows} x {columns} pixels is too large: no more than '
      f'{max_pixels} pixels are decoded or resized to.'
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


def _decode_with_pillow(image, max_pixels):
  try:
    with Image.open(io.BytesIO(image)) as file:
      check_size(file.height, file.width, max_pixels)
      return np.asarray(_to_rgb(file))
  except errors.UserError:
    raise
  except Image.UnidentifiedImageError as error:
    raise errors.UserError('Not an image of any known format.') from error
  # Pillow's readers raise whatever broken bytes lead them to.
  except Exception as error:
    raise errors.UserError(f'A broken image: {error}') from error


def _to_rgb(file):
  if file.mode.startswith('I;16'):
    # 16 bits of grey; Pillow reads 16 bits of colour by their upper 8, too.
    return Image.fromarray((np.asarray(file) >> 8).astype(np.uint8)).convert(
      'RGB'
    )
  if file.mode in ('I', 'F'):
    raise errors.UserError(
      'The image has 32 bits per pixel, whose range is not known; 8 or 16 are.'
    )
  return file.convert('RGB')
