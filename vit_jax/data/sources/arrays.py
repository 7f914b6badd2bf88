"""Images and labels that fit in memory: NumPy arrays, or an .npz file of them.

An .npz file holds, for each split, `<split>_image` (uint8 [images, rows,
columns, 3] or, grey, [images, rows, columns]) and `<split>_label` (int
[images]).
"""

import contextlib
import dataclasses
import math
import os
import zipfile
import zlib

import numpy as np

from vit_jax import errors, files
from vit_jax.data.sources import slices
from vit_jax.files import copies

# Pictures of a few colours compress well; a zip bomb is 1000:1.
MAX_COMPRESSION = 100
_SMALL = 64 << 20  # Bytes that any file may unpack to.
_MAX_ARRAYS = 10_000
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclasses.dataclass(eq=False)
class ArraySource:
  """A source of arrays; see `sources` for what a source is.

  Attributes:
    images: uint8 [images, rows, columns, 3], or 1 or no channels: grey.
    labels: int [images], class indices; -1 where there is none.
    class_names: name of each class, or None.
    num_classes: number of classes; None: inferred from names or labels.
    name: of the arrays in errors.
    array: the same without the file's path, or None.
    rows: which rows of the arrays called `name` these are, if not all.
  """

  images: np.ndarray
  labels: np.ndarray
  class_names: tuple[str, ...] | None = None
  num_classes: int | None = None
  name: str = 'the arrays'
  array: str | None = None
  rows: list | None = None

  def __post_init__(self):
    _check(self.images, self.labels, self.name)
    found = int(self.labels.max()) + 1
    if self.class_names is not None and len(self.class_names) < found:
      raise errors.UserError(
        f'{self.name}: a label is {found - 1}, and class_names has only '
        f'{len(self.class_names)} names.'
      )
    if self.num_classes is None:
      self.num_classes = max(found, len(self.class_names or ()), 1)
    if self.num_classes < found:
      raise errors.UserError(
        f'{self.name}: a label is {found - 1}, which does not fit '
        f'num_classes={self.num_classes}.'
      )

  def __len__(self):
    return len(self.images)

  def __getitem__(self, index):
    return {'image': self.images[index], 'label': int(self.labels[index])}

  def where(self, index):
    return f'row {self._row(index)} of {self.name}'

  def key(self, index):
    return f'row {self._row(index)} of {self.array or self.name}'

  def facts(self):
    yield f'{self.images.shape} {self.num_classes}'
    for array in self.images, self.labels:
      yield str(zlib.crc32(np.ascontiguousarray(array)))

  def _row(self, index):
    return index if self.rows is None else self.rows[index]


def build(data, split):
  """Returns the source of a split, or of slices, of the file `data.dataset`.

  The number of classes is the largest label of any split, plus one.

  Raises:
    UserError: no such file, not an .npz file, or the arrays aren't as above.
  """
  path = files.path(os.path.expanduser(data.dataset))
  with _open(path) as file:
    splits = [
      name.removesuffix('_image')
      for name in file.files
      if name.endswith('_image')
    ]
    parts = [
      _take(file, path, splits, name, bounds, split)
      for name, bounds in slices.parse(split)
    ]
    labels = [_array(file, path, f'{name}_label') for name in splits]
  num_classes = 1 + max(int(each.max(initial=0)) for each in labels)
  if len(parts) > 1:
    return _join(parts, num_classes, path)
  return dataclasses.replace(parts[0], num_classes=num_classes)


def _take(file, path, splits, name, bounds, split):
  """Returns the source of a slice of one split."""
  if name not in splits:
    raise errors.UserError(
      f'{path} has no split {name!r}, that is no array {name}_image. '
      + (errors.nearest(name, splits) if splits else 'It has no splits.')
    )
  images = _array(file, path, f'{name}_image')
  labels = _array(file, path, f'{name}_label')
  where = f'{name}_image in {path}'
  _check(images, labels, where)
  if bounds == (None, None):
    return ArraySource(images, labels, name=where, array=f'{name}_image')
  rows = slices.take(range(len(images)), bounds, split)
  return ArraySource(
    images[rows], labels[rows], name=where, array=f'{name}_image', rows=rows
  )


def _join(parts, num_classes, path):
  """Joins several slices, which must have images of one shape."""
  shapes = {part.images.shape[1:] for part in parts}
  if len(shapes) > 1:
    raise errors.UserError(
      f'{path}: splits of images of the shapes '
      f'{" and ".join(map(str, sorted(shapes)))} can not be joined.'
    )
  return ArraySource(
    np.concatenate([part.images for part in parts]),
    np.concatenate([part.labels for part in parts]),
    num_classes=num_classes,
    name=' + '.join(part.name for part in parts),
    array=' + '.join(part.array for part in parts),
  )


def _open(path):
  own = _on_disk(path)
  try:
    file = np.load(own, allow_pickle=False)
  except Exception as error:  # Of any kind: the bytes can be anything.
    raise errors.UserError(f'{path} is not an .npz file: {error}') from error
  if isinstance(file, np.ndarray):
    raise errors.UserError(
      f'{path} is a single array; numpy.savez writes several, by name.'
    )
  members = file.zip.infolist()
  claimed = sum(member.file_size for member in members)
  limit = max(_SMALL, MAX_COMPRESSION * own.stat().st_size)
  if claimed > limit or len(members) > _MAX_ARRAYS:
    file.close()
    raise errors.UserError(
      f'{path} would unpack to {len(members)} arrays of {claimed} bytes; no '
      f'more than {MAX_COMPRESSION} times its size are unpacked.'
    )
  return file


def _on_disk(path):
  """Returns the path of a file, or of a copy of an object."""
  with files.asking(path), contextlib.suppress(FileNotFoundError):
    own = copies.local(path)
    if own.is_file():
      return own
  raise errors.UserError(
    f'data.dataset={str(path)!r} is not a file; with data.source=arrays it is '
    'an .npz file.'
  )


def _array(file, path, name):
  if name not in file.files:
    raise errors.UserError(
      f'{path} has no array {name}; it has: {", ".join(file.files)}.'
    )
  try:
    _check_claim(file.zip, f'{name}.npy')
    return file[name]
  except Exception as error:  # Of any kind, as headers are Python's literals.
    # An array of Python objects would have to be unpickled: never done.
    raise errors.UserError(f'{name} in {path}: {error}') from error


def _check_claim(archive, name):
  """Raises ValueError where an array claims more than there is of it."""
  member = archive.getinfo(name)
  size = member.file_size
  if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise ValueError('it is packed as numpy.savez does not')
  with archive.open(name) as stream:
    version = np.lib.format.read_magic(stream)
    read = _HEADERS.get(version)
    if read is None:
      raise ValueError(f'a version of .npy that is not known: {version}')
    shape, _, dtype = read(stream)
    if dtype.hasobject:
      return  # NumPy refuses to unpickle it.
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or stream.tell() + claimed != size:
      raise ValueError(f'{shape} of {dtype} do not fit {size} bytes')


def _check(images, labels, name):
  """Raises UserError unless the arrays are as `ArraySource` needs them."""
  grey = images.ndim == 3
  if images.dtype != np.uint8 or not (
    grey or (images.ndim == 4 and images.shape[-1] in (1, 3))
  ):
    raise errors.UserError(
      f'{name}: images are {images.dtype} {list(images.shape)}; they must be '
      'uint8 [images, rows, columns, 3] or [images, rows, columns].'
    )
  if labels.dtype.kind not in 'iu' or labels.shape != images.shape[:1]:
    raise errors.UserError(
      f'{name}: labels are {labels.dtype} {list(labels.shape)}; they must be '
      f'integers [{len(images)}], one for each image.'
    )
  if not images.size:
    raise errors.UserError(f'{name}: there is no image.')
  if labels.min() < -1:
    raise errors.UserError(
      f'{name}: a label is {labels.min()}; classes count from 0, and -1 says '
      'that there is no label.'
    )
