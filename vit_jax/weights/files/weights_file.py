"""Files of named arrays that need not be trusted.

Nothing in a file is executed. Names, dtypes, shapes and sizes are checked when
it is opened, before any array is allocated.
"""

import collections.abc
import dataclasses
import functools
import math
import mmap
import os

import numpy as np

from vit_jax import errors, files
from vit_jax.files import copies

MAX_ARRAYS = 5_000  # No released file has half as many.
MAX_NAME = 300  # Characters.
MAX_DIMENSIONS = 8

_ALIGNMENT = 64  # Bytes.
_LARGE = 1 << 20  # Bytes; worth pages of its own.
_PAGES = (  # Linux alone can provide them at one go.
  mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, 'MAP_POPULATE', 0)
)


class WeightsFileError(errors.UserError):
  """A file of weights that is damaged, forged, or of another kind."""


# Yields a binary file to write; see `files.saving`.
replacing = functools.partial(files.saving, error=WeightsFileError)


@dataclasses.dataclass(frozen=True)
class Header:
  """What a file claims about an array, once checked."""

  shape: tuple[int, ...]
  dtype: np.dtype

  @property
  def num_bytes(self):
    return math.prod(self.shape) * self.dtype.itemsize


class WeightsFile(collections.abc.Mapping):
  """An open file: {name: array}, where each look-up reads that array.

  A context manager. `headers` has shapes and dtypes, without reading.
  """

  def __init__(self, path, headers):
    self.path = path
    self.headers = headers

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()

  def __iter__(self):
    return iter(self.headers)

  def __len__(self):
    return len(self.headers)

  def __contains__(self, name):
    return name in self.headers  # Else the array would be read to know.

  def close(self):
    raise NotImplementedError


class View(collections.abc.Mapping):
  """Arrays of a file under other names, read when looked up."""

  def __init__(self, file, sources):
    """Shows what `sources` names.

    Args:
      file: a `WeightsFile` or `View`.
      sources: {name: (name in the file, index)}; an index picks one layer of
        arrays that are stacked along their first axis, None takes the array.
    """
    self._file = file
    self._sources = sources
    self._last = (None, None)  # Layers of one stack come one after another.
    self.headers = {}
    for name, (source, index) in sources.items():
      header = file.headers[source]
      shape = header.shape if index is None else header.shape[1:]
      self.headers[name] = Header(shape, header.dtype)

  def __getitem__(self, name):
    source, index = self._sources[name]
    if index is None:
      return self._file[source]
    if self._last[0] != source:
      self._last = (source, self._file[source])
    return self._last[1][index]

  def __iter__(self):
    return iter(self.headers)

  def __len__(self):
    return len(self.headers)

  def __contains__(self, name):
    return name in self.headers


def part(file, prefix):
  """Returns the `View` of names that begin with `prefix`, without it."""
  return View(
    file,
    {
      name.removeprefix(prefix): (name, None)
      for name in file
      if name.startswith(prefix)
    },
  )


def open_binary(path):
  """Opens a file for reading; of one in a store, a copy.

  Raises:
    WeightsFileError: there is none, or it can't be read.
  """
  try:
    return files.open_regular(copies.local(path))
  except OSError as error:
    raise WeightsFileError(
      f'{os.fspath(path)} can not be read: {error.strerror or error}.'
    ) from error


def size_of(file):
  """Returns the bytes of an open file."""
  return os.fstat(file.fileno()).st_size


def new(num_bytes):
  """Returns bytes to read into, where JAX on CPUs can use them as they are.

  Large ones are whole pages that the system provides at one go. One by one, as
  they are first touched, costs as much as reading the file; the huge pages that
  NumPy asks for cost more still where memory is fragmented.
  """
  if num_bytes >= _LARGE:
    return np.frombuffer(mmap.mmap(-1, num_bytes, flags=_PAGES), np.uint8)
  padded = np.frombuffer(bytearray(num_bytes + _ALIGNMENT), np.uint8)
  start = -padded.ctypes.data % _ALIGNMENT
  return padded[start : start + num_bytes]


def check_count(path, count):
  """Raises WeightsFileError for more arrays than any model has."""
  if count > MAX_ARRAYS:
    raise WeightsFileError(
      f'{path} names {count} arrays; no model has more than {MAX_ARRAYS}.'
    )


def check_name(path, name):
  """Raises WeightsFileError for a name that is no plain parameter path.

  Names only ever become keys of a tree, but nobody should have to rely on it.
  """
  parts = name.split('/')
  if (
    len(name) > MAX_NAME
    or not name.isascii()
    or not name.isprintable()
    or '\\' in name
    or any(part in ('', '.', '..') for part in parts)
  ):
    raise WeightsFileError(
      f'{path} has an array named {name[:80]!r}, which is no path of a '
      'parameter; the file is forged or damaged.'
    )


def check_shape(path, name, shape):
  """Raises WeightsFileError for a shape that no parameter has."""
  if len(shape) > MAX_DIMENSIONS or any(side < 1 for side in shape):
    raise WeightsFileError(
      f'{path}: {name} claims the shape {str(shape)[:80]}, which no parameter '
      'has.'
    )
