"""TFRecord files with random access.

A TFRecord file is a sequence of records, each of 8 bytes of length, 4 bytes of
the length's checksum, the data and 4 bytes of its checksum. One pass over the
lengths gives an index of offsets; it is cached in a file beside the data or,
where that folder is not writable, in the user's cache. A cached index is only
used if it has the offsets of as many records, all of them within the files.
"""

import bisect
import dataclasses
import hashlib
import io
import itertools
import os
import struct
from concurrent import futures

import google_crc32c
import numpy as np
import tqdm

from vit_jax import errors, files
from vit_jax.data import bad_examples
from vit_jax.files import cache

MAX_RECORD = 128 << 20  # Bytes; images that are decoded have fewer.

_HEADER = struct.Struct('<QI')  # Length, and its checksum.
_CHECKSUM = struct.Struct('<I')
_BLOCK = 8 << 20  # Bytes that are asked of a store for several lengths.
_NUM_THREADS = 16  # That index files of a store.


@dataclasses.dataclass(eq=False)
class Records:
  """The records of parts of files, as a sequence of bytes.

  Attributes:
    files: TFDS's instructions: which parts of which files, in order.
    offsets: {path: int64 [records of the file]}.
    sizes: {path: bytes of the file}.
  """

  files: tuple
  offsets: dict
  sizes: dict

  def __post_init__(self):
    self._ends = list(itertools.accumulate(file.take for file in self.files))

  def __len__(self):
    return self._ends[-1]

  def __getitem__(self, index):
    """Returns the bytes of a record.

    Raises:
      UserError: they are corrupt.
      BrokenShardError: the file is truncated, or has no record there.
    """
    part = bisect.bisect_right(self._ends, index)
    file = self.files[part]
    number = file.skip + index - (self._ends[part] - file.take)
    offset = int(self.offsets[file.filename][number])
    with self._open_at(file.filename, number) as opened:
      length = _length(opened.read(_HEADER.size), file.filename, offset)
      _check_length(length, file.filename, offset)
      data = opened.read(length + _CHECKSUM.size)
    if len(data) < length + _CHECKSUM.size:
      raise _cut_off(file.filename, offset, length, offset + len(data))
    data, (checksum,) = data[:length], _CHECKSUM.unpack(data[length:])
    if masked_crc(data) != checksum:
      raise errors.UserError(
        f'{file.filename}: the record at byte {offset} is corrupt, its '
        'checksum differs. Copy the file again.'
      )
    return data

  def _open_at(self, path, number):
    """Returns a file to read a record from; of a store, that record alone."""
    offset = int(self.offsets[path][number])
    if not _is_remote(path):
      opened = _open(path)
      opened.seek(offset)
      return opened
    following = self.offsets[path][number + 1 : number + 2].tolist()
    frame = _HEADER.size + _CHECKSUM.size
    end = following[0] if following else self.sizes[path]
    end = max(end, offset + frame)  # An index may be anybody's.
    _check_length(end - offset - frame, path, offset)
    return io.BytesIO(_read_remote(path, offset, end))


def read(instructions, cache_name):
  """Returns the `Records` of TFDS's instructions for a split.

  Args:
    instructions: which parts of which files, in order.
    cache_name: of the file that caches the index; one per split.

  Raises:
    BrokenShardError: a file is missing, truncated or not a TFRecord file, or
      has not as many records as it should; names file and offset.
  """
  counts = {file.filename: file.examples_in_shard for file in instructions}
  sizes = sizes_of(counts)
  text = '\n'.join(f'{path} {size}' for path, size in sizes.items())
  digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
  folder = os.path.dirname(next(iter(counts)))
  name = f'{cache_name}-{digest}.npy'
  caches = [files.path(folder) / '.vit_jax' / name, _user_cache() / name]
  found = _cached(caches, sum(counts.values()), max(sizes.values()))
  if found is None:
    found = np.concatenate(list(_indices(folder, sizes, counts)))
    _save(found, caches)
  ends = list(itertools.accumulate(counts.values()))
  offsets = dict(zip(counts, np.split(found, ends[:-1])))
  return Records(tuple(instructions), offsets, sizes)


def _user_cache():
  return cache.folder() / 'tfrecord_index'


def _cached(caches, count, end):
  """Returns the offsets of `count` records before `end` that a cache holds."""
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header,
    {'descr': '<i8', 'fortran_order': False, 'shape': (count,)},
  )
  header = header.getvalue()
  size = len(header) + 8 * count
  for path in caches:
    try:
      data = files.read_bytes(path, size)
    except OSError:
      continue
    if len(data) == size and data.startswith(header):
      found = np.frombuffer(data, '<i8', offset=len(header))
      if not count or (found.min() >= 0 and found.max() < end):
        return found
  return None


def _save(offsets, caches):
  """Writes the index to the first writable path; having none is fine.

  The folder of the data may be somebody else's: a link in it that leads to
  another folder is not followed.
  """
  data = io.BytesIO()
  np.save(data, offsets, allow_pickle=False)
  for path in caches:
    try:
      if _is_remote(path):
        path.write_bytes(data.getvalue())
        return
      if os.path.islink(path.parent):
        continue
      if path.parent == _user_cache():
        files.make_private(path.parent.parent)
      path.parent.mkdir(parents=True, exist_ok=True)
      with files.replacing(path) as opened:
        opened.write(data.getvalue())
      return
    except OSError:
      continue


def _is_remote(path):
  return '://' in os.fspath(path)


def sizes_of(paths):
  """Returns {path: bytes} of files of a data set.

  Raises:
    BrokenShardError: one is missing, or can't be read.
  """
  try:
    return files.sizes(paths)
  except FileNotFoundError as error:
    raise bad_examples.BrokenShardError(
      f'The file {error.filename} of the data set is missing.'
    ) from error
  except OSError as error:
    raise bad_examples.BrokenShardError(
      f'{error.filename} can not be read: {error.strerror or error}.'
    ) from error


def _indices(folder, sizes, counts):
  """Yields the offsets of each file; of a store, many are read at a time."""
  num_threads = _NUM_THREADS if _is_remote(folder) else 1
  with futures.ThreadPoolExecutor(num_threads) as threads:
    found = threads.map(
      lambda path: _index(path, sizes[path], counts[path]), counts
    )
    yield from tqdm.tqdm(
      found, f'Indexing {folder}', total=len(counts), unit='file'
    )


def _index(path, size, count):
  """Returns the offset of each record of a file, int64 [records]."""
  offsets, offset = [], 0
  with _Blocks(path, size) if _is_remote(path) else _open(path) as file:
    while offset < size:
      file.seek(offset)
      length = _length(file.read(_HEADER.size), path, offset)
      end = offset + _HEADER.size + length + _CHECKSUM.size
      if end > size:
        raise _cut_off(path, offset, length, size)
      offsets.append(offset)
      offset = end
      if len(offsets) > count:
        break
  if len(offsets) != count:
    raise bad_examples.BrokenShardError(
      f'{path} has {len(offsets)} records{" and more" * (offset < size)} and '
      f'should have {count}: it ends at byte {size}. Copy it again.'
    )
  return np.array(offsets, np.int64)


class _Blocks:
  """A file of a store, read in large pieces, as far as they are asked for."""

  def __init__(self, path, size):
    self._path, self._size = path, size
    self._begin, self._data, self._offset = 0, b'', 0

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._data = b''

  def seek(self, offset):
    self._offset = offset

  def read(self, length):
    begin = self._offset - self._begin
    if not 0 <= begin <= len(self._data) - length:
      self._begin, begin = self._offset, 0
      end = min(self._offset + _BLOCK, self._size)
      self._data = _read_remote(self._path, self._offset, end)
    return self._data[begin : begin + length]


def _read_remote(path, begin, end):
  try:
    return files.path(path).read_bytes(begin, end)
  except OSError as error:
    raise bad_examples.BrokenShardError(
      f'{path} can not be read: {error.strerror or error}.'
    ) from error


def _open(path):
  # Unbuffered: nothing of a record is read twice or in vain.
  try:
    return files.open_regular(path, buffering=0)
  except OSError as error:
    raise bad_examples.BrokenShardError(
      f'{path} can not be read: {error.strerror}.'
    ) from error


def _check_length(length, path, offset):
  if length > MAX_RECORD:
    raise errors.UserError(
      f'{path}: the record at byte {offset} has {length} bytes; no more than '
      f'{MAX_RECORD} are read.'
    )


def _length(header, path, offset):
  """Returns the length in a header, after verifying its checksum."""
  if len(header) < _HEADER.size:
    raise _cut_off(path, offset, None, offset + len(header))
  length, checksum = _HEADER.unpack(header)
  if masked_crc(header[:8]) != checksum:
    raise bad_examples.BrokenShardError(
      f'{path} has no record at byte {offset}: the checksum there is wrong. '
      'Copy it again.'
    )
  return length


def _cut_off(path, offset, length, end):
  size = '' if length is None else f' of {length} bytes'
  return bad_examples.BrokenShardError(
    f'{path} is truncated: the record{size} at byte {offset} extends beyond '
    f'the end of the file, at byte {end}. Copy it again.'
  )


def masked_crc(data):
  """Returns the checksum of data in a TFRecord: CRC-32C, masked."""
  crc = google_crc32c.value(bytes(data))
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
