"""Images without labels, in batches of float32 pixels in [-1, 1].

`batches()` yields (labels, pixels [batch, height, width, 3], problems): what to
call each image, and what is wrong with it, or None. A last batch has more
pixels than labels: black images fill it up.
"""

import pathlib

import numpy as np

from vit_jax import errors
from vit_jax.data import batch, transforms
from vit_jax.data.sources import folder


class Arrays:
  """The images of an .npy, whose pixels are given to the model as they are.

  Attributes:
    size: (rows, columns) in pixels.

  Raises:
    UserError: it is no .npy of pixels.
  """

  def __init__(self, path, batch_size):
    try:
      self._pixels = np.load(path, mmap_mode='r', allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
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


class Files:
  """Image files, transformed to one size.

  Args:
    paths: of the files.
    chain: transforms of a file's bytes, which give images of `size`.
    size: (rows, columns) in pixels.
    batch_size: of all batches, if there are that many images.
  """

  def __init__(self, paths, chain, size, batch_size):
    self._paths = paths
    self._chain = chain
    self._batch_size = batch_size
    self.size = size

  def batches(self):
    """Yields (labels, pixels, what is wrong with each or None)."""
    for start in range(0, len(self._paths), self._batch_size):
      paths = self._paths[start : start + self._batch_size]
      pixels = np.zeros((len(paths), *self.size, 3), np.uint8)
      problems = [None] * len(paths)
      for i, path in enumerate(paths):
        try:
          pixels[i] = transforms.apply(self._chain, path.read_bytes())
        except (errors.UserError, OSError) as error:
          problems[i] = str(error)
      pixels = np.asarray(batch.to_model_range(pixels))
      yield (
        paths,
        _padded(pixels, min(self._batch_size, len(self._paths))),
        problems,
      )


def _padded(pixels, batch_size):
  """Fills up a last batch: another shape would be compiled anew."""
  missing = batch_size - len(pixels)
  return np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0)))


def find(source):
  """Returns the paths of images; those of a folder sorted, at any depth.

  Args:
    source: an image, a folder, or several of these parted by commas.

  Raises:
    UserError: there are none.
  """
  single = pathlib.Path(source).expanduser()
  if single.exists():
    paths = [single]
  else:
    paths = [pathlib.Path(p).expanduser() for p in source.split(',') if p]
  files = []
  for path in paths:
    if not path.exists():
      raise errors.UserError(
        f'--input={path}: there is no such file or folder.'
      )
    if path.is_dir():
      files += sorted(
        file
        for file in path.rglob('*')
        if file.suffix.lower() in folder.EXTENSIONS and file.is_file()
      )
    else:
      files.append(path)
  if not files:
    raise errors.UserError(
      f'--input={source} holds no images; known are files ending in '
      f'{", ".join(folder.EXTENSIONS)}.'
    )
  return files
