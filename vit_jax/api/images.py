"""What people call images: paths, Pillow's, bytes, arrays, lists of these.

One of each is understood, or refused: an array of floats could be of 0 to 1, of
0 to 255 or normalized by somebody's mean, and nothing tells which.
"""

import os

import numpy as np
from PIL import Image

from vit_jax import errors, files
from vit_jax.data import names

_WHAT = (
  'Images are a path, a Pillow image, the bytes of a file, a uint8 array '
  '[rows, columns, 3], [rows, columns] or [images, rows, columns, 3], or a '
  'list of these'
)


def listed(images):
  """Returns a list of images, each as `inputs.Images` takes it.

  Args:
    images: a path (of a store too), a Pillow image of any mode, the bytes of a
      file, a uint8 array [rows, columns, 3], [rows, columns, 1], [rows,
      columns] or [images, rows, columns, 1 or 3]; or a list, tuple or iterator
      of single ones of any size.

  Raises:
    UserError: there is none, or one is something else.
  """
  if _is_single(images):
    return [_single(images, '')]
  if hasattr(images, 'shape'):
    array = _array(images, '')
    if array.ndim != 4:
      return [_grey_or_color(array, '')]
    if array.shape[3] not in (1, 3) or not len(array):
      raise errors.UserError(f'{_shape(array)} is no array of images. {_WHAT}.')
    return list(array)
  try:
    several = list(images)
  except TypeError as error:
    raise errors.UserError(
      f'{type(images).__name__} is no image. {_WHAT}.'
    ) from error
  if not several:
    raise errors.UserError(f'There are no images. {_WHAT}.')
  return [_single(image, f'image {i}: ') for i, image in enumerate(several)]


def _is_single(image):
  return isinstance(image, str | os.PathLike | bytes | Image.Image)


def _single(image, where):
  if isinstance(image, str | os.PathLike):
    return _path(image, where)
  if _is_single(image):
    return image
  if hasattr(image, 'shape'):
    return _grey_or_color(_array(image, where), where)
  raise errors.UserError(f'{where}{type(image).__name__} is no image. {_WHAT}.')


def _path(path, where):
  path = files.path(os.path.expanduser(os.fspath(path)))
  if not files.is_remote(path) and files.is_folder(path):
    raise errors.UserError(
      f'{where}{names.shown(path)} is a folder; give its files, as in '
      "sorted(pathlib.Path(folder).rglob('*.jpg')), so that each result has "
      'its image.'
    )
  if path.suffix == '.npy':
    raise errors.UserError(
      f'{where}{names.shown(path)} is an array; give numpy.load of it: uint8 '
      'here, or float32 pixels in [-1, 1] to the model, as model(pixels).'
    )
  return path


def _array(array, where):
  array = np.asarray(array)
  if array.dtype == np.uint8:
    return array
  hint = 'images are uint8, from 0 to 255'
  if np.issubdtype(array.dtype, np.floating):
    hint = (
      'the range of floats is not known. If they are 0 to 1, give (255 * '
      "images).round().astype('uint8'); pixels in [-1, 1] of the right size "
      'go to the model itself, as model(pixels)'
    )
  raise errors.UserError(f'{where}{_shape(array)} is no image: {hint}.')


def _grey_or_color(array, where):
  grey = array.ndim == 2
  if array.size and (grey or (array.ndim == 3 and array.shape[2] in (1, 3))):
    return array
  raise errors.UserError(
    f'{where}{_shape(array)} is no image: it is uint8 [rows, columns, 3], or '
    '[rows, columns] in grey.'
  )


def _shape(array):
  return f'{array.dtype} {list(array.shape)}'
