"""Images without labels, in batches of float32 pixels in [-1, 1].

They are files, or what a program has in memory: bytes, arrays, Pillow's images.

`batches()` yields (labels, pixels [batch, height, width, 3], problems): what to
call each image, and what is wrong with it, or None. The label of a file is its
path, whose name need not be text (see `names`). A last batch has more pixels
than labels: black images fill it up.
"""

import collections
import functools
import os
import sys
from concurrent import futures

import numpy as np
from PIL import Image

from vit_jax import errors, files
from vit_jax.data import batch, image_files, names, transforms
from vit_jax.files import copies, listed


class Arrays:
  """The images of an .npy, whose pixels are given to the model as they are.

  Attributes:
    size: (rows, columns) in pixels.

  Raises:
    UserError: it is no .npy of pixels.
  """

  def __init__(self, path, batch_size):
    try:
      own = copies.local(path)
      with files.open_regular(own):  # Else a pipe would be waited for.
        pass
      self._pixels = np.load(own, mmap_mode='r', allow_pickle=False)
    except errors.UserError:
      raise
    except Exception as error:  # Of any kind: headers are Python's literals.
      raise errors.UserError(
        f'{path} is no .npy of numbers: {error}.'
      ) from error
    self._path = path
    self._batch_size = batch_size
    shape, dtype = self._pixels.shape, self._pixels.dtype
    if len(shape) != 4 or shape[3] != 3 or dtype != np.float32 or not shape[0]:
      raise errors.UserError(
        f'{path} is {dtype} {list(shape)}; pixels are float32 [batch, height, '
        'width, 3], in [-1, 1].'
      )
    self.size = shape[1:3]

  def batches(self):
    """Yields (labels, pixels, what is wrong with each or None)."""
    for start in range(0, len(self._pixels), self._batch_size):
      pixels = np.array(self._pixels[start : start + self._batch_size])
      if not np.abs(pixels).max() <= 1:  # Or it is not a number.
        raise errors.UserError(
          f'{self._path} has pixels outside of [-1, 1]; those of 0 to 255 '
          'become so by x / 127.5 - 1.'
        )
      labels = [f'{self._path}[{start + i}]' for i in range(len(pixels))]
      yield (
        labels,
        _padded(pixels, min(self._batch_size, len(self._pixels))),
        [None] * len(labels),
      )


class Images:
  """Images, transformed to one size.

  Args:
    images: of each its path, the bytes of the file, the image as Pillow has
      opened it, or uint8 [rows, columns, 3], with 1 channel or none.
    chain: transforms of an image, which give images of `size`.
    size: (rows, columns) in pixels.
    batch_size: of all batches, if there are that many images.
  """

  def __init__(self, images, chain, size, batch_size):
    self._images = images
    self._chain = chain
    self._batch_size = batch_size
    self.size = size

  def batches(self):
    """Yields (labels, pixels, what is wrong with each or None)."""
    for start in range(0, len(self._images), self._batch_size):
      images = self._images[start : start + self._batch_size]
      pixels = np.zeros((len(images), *self.size, 3), np.uint8)
      problems = [None] * len(images)
      for i, read in enumerate(_reads(images)):
        try:
          pixels[i] = transforms.apply(self._chain, read())
        except (errors.UserError, OSError) as error:
          problems[i] = str(error)
      pixels = np.asarray(batch.to_model_range(pixels))
      yield (
        [_label(image, start + i) for i, image in enumerate(images)],
        _padded(pixels, min(self._batch_size, len(self._images))),
        problems,
      )


def _is_path(image):
  return isinstance(image, str | os.PathLike)


def _label(image, index):
  """Returns what to call an image: by its path, else by its number."""
  if isinstance(image, Image.Image):
    image = getattr(image, 'filename', '') or index
  return os.fspath(image) if _is_path(image) else f'image {index}'


def _reads(images):
  """Returns functions that return what the chain takes of each, or raise.

  Those of a store are read at the same time.
  """
  reads = [functools.partial(_read, image) for image in images]
  if not any(_is_path(image) and files.is_remote(image) for image in images):
    return reads
  with futures.ThreadPoolExecutor(len(reads)) as threads:
    return [threads.submit(read).result for read in reads]


def _read(image):
  if _is_path(image):
    return image_files.read(image)
  return image


def _padded(pixels, batch_size):
  """Fills up a last batch: another shape would be compiled anew."""
  missing = batch_size - len(pixels)
  return np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0)))


def find(source):
  """Returns the paths of images; those of a folder sorted, at any depth.

  What of a folder is left out is told.

  Args:
    source: an image, a folder, or several of these, in a list or parted by
      commas.

  Raises:
    UserError: there are none.
  """
  paths, left_out = [], collections.Counter()
  for path in given(source):
    if files.is_folder(path):
      found = image_files.find(path)
      paths += sorted(path / name for name in found.names)
      left_out += found.left_out
    elif files.exists(path):
      paths.append(path)
    else:
      raise errors.UserError(
        f'--input={names.shown(path)}: there is no such file or folder.'
      )
  told = f'left out: {image_files.describe(left_out)}'
  if not paths:
    shown = ', '.join(map(names.shown, given(source)))
    raise errors.UserError(
      f'--input={shown} holds no images'
      f'{f" ({told})" if left_out else ""}; known are '
      f'{", ".join(image_files.FORMATS)}.'
    )
  if left_out:
    print(told, file=sys.stderr)
  return paths


def given(source):
  """Returns the paths that are meant; one, if it is there, commas and all."""
  if not isinstance(source, str):
    return [path for each in source for path in given(each)]
  parts = [part for part in source.split(',') if part]
  # With two schemes, or one behind a comma, it is no path.
  if source.count('://') <= 1 and ',' not in source.rpartition('://')[0]:
    single = _path(source)
    if len(parts) == 1 or files.exists(single):
      return [single]
  return list(map(_path, parts))


def _path(text):
  path = files.path(os.path.expanduser(text))
  return listed.ListedPath(path) if files.is_remote(path) else path
