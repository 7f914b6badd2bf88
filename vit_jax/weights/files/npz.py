"""NumPy's .npz, a zip archive of .npy files, read without trusting it.

The layout is that of NumPy's manual (numpy.lib.format). Objects, which NumPy
would unpickle, are refused; so is what claims more than the file can hold.
"""

import collections
import contextlib
import dataclasses
import os
import re
import struct
import zipfile
import zlib

import ml_dtypes
import numpy as np

from vit_jax.weights.files import weights_file

# Trained weights hardly compress, a head of zeros does; a zip bomb is 1000:1.
MAX_COMPRESSION = 16

# By NumPy's codes; all little-endian.
DTYPES = {
  code: np.dtype(f'<{code}')
  for code in (
    *('f2', 'f4', 'f8', 'b1'),
    *('i1', 'i2', 'i4', 'i8'),
    *('u1', 'u2', 'u4', 'u8'),
  )
}
# NumPy does not know bfloat16 and writes two bytes without a meaning.
DTYPES['V2'] = np.dtype(ml_dtypes.bfloat16)
_WRITABLE = frozenset(DTYPES.values()) - {DTYPES['V2']}

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # By version of .npy.
_MAX_HEADER = 4096  # Bytes; that of an array of eight dimensions has 256.
_HEADER = re.compile(
  r"\{'descr': '[<|]([a-zA-Z][0-9]{1,2})', "
  r"'fortran_order': (True|False), "
  r"'shape': \(((?:[0-9]{1,18}, ?)*(?:[0-9]{1,18})?)\),? ?\} *\n?"
)
_CHUNK = 1 << 18  # Bytes; still in the cache when its checksum is taken.
_LOCAL_HEADER = struct.Struct('<4s22xHH')  # Signature, lengths of what follows.


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where an array is in the archive, and how."""

  member: zipfile.ZipInfo
  offset: int  # Bytes before the data.
  fortran_order: bool
  header: weights_file.Header


class NpzFile(weights_file.WeightsFile):
  """{name: array} of an .npz; each look-up reads one array and its checksum."""

  def __init__(self, path):
    """Opens the archive and checks what it claims about each array.

    Raises:
      WeightsFileError: it is not an .npz of numbers, or is damaged.
    """
    with contextlib.ExitStack() as stack:
      file = stack.enter_context(weights_file.open_binary(path))
      with _damage_reported(path):
        self._archive = stack.enter_context(zipfile.ZipFile(file))
      self._file = file
      members = _members(path, self._archive)
      _check_sizes(path, members.values(), weights_file.size_of(file))
      self._layouts = {
        name: _layout(path, name, self._archive, member)
        for name, member in members.items()
      }
      self._stack = stack.pop_all()
    super().__init__(
      path, {name: layout.header for name, layout in self._layouts.items()}
    )

  def __getitem__(self, name):
    layout = self._layouts[name]
    raw = weights_file.new(layout.header.num_bytes)
    with _damage_reported(self.path):
      if layout.member.compress_type == zipfile.ZIP_STORED:
        self._read_stored(layout, raw)
      else:
        self._unpack(layout, raw)
    shape = layout.header.shape
    array = raw.view(layout.header.dtype)
    if layout.fortran_order:
      return array.reshape(shape[::-1]).T
    return array.reshape(shape)

  def _unpack(self, layout, raw):
    with self._archive.open(layout.member) as stream:
      stream.read(layout.offset)
      for start in range(0, raw.size, _CHUNK):
        chunk = raw[start : start + _CHUNK]
        if stream.readinto(chunk) != chunk.size:
          raise zipfile.BadZipFile(f'{layout.member.filename} ends too early')

  def _read_stored(self, layout, raw):
    """Reads straight into `raw`; zipfile would make three copies on the way."""
    member = layout.member
    self._file.seek(member.header_offset)
    local = self._file.read(_LOCAL_HEADER.size)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(local)
    if signature != b'PK\x03\x04':
      raise zipfile.BadZipFile(f'{member.filename} is not where it should be')
    self._file.seek(name_length + extra_length, os.SEEK_CUR)
    checksum = zlib.crc32(self._file.read(layout.offset))
    for start in range(0, raw.size, _CHUNK):
      chunk = raw[start : start + _CHUNK]
      if self._file.readinto(chunk) != chunk.size:
        raise zipfile.BadZipFile(f'{member.filename} ends too early')
      checksum = zlib.crc32(chunk, checksum)
    if checksum != member.CRC:
      raise zipfile.BadZipFile(f'the checksum of {member.filename} differs')

  def close(self):
    self._stack.close()


def save(path, flat):
  """Writes {name: array} as `numpy.savez` does: not packed, in this order.

  Raises:
    WeightsFileError: a name or dtype that `NpzFile` would refuse, or the file
      can't be written.
  """
  weights_file.check_count(path, len(flat))
  with (
    weights_file.replacing(path) as file,
    zipfile.ZipFile(file, 'w') as zipped,
  ):
    for name, array in flat.items():
      array = np.asanyarray(array)
      weights_file.check_name(path, name)
      weights_file.check_shape(path, name, array.shape)
      if array.dtype.newbyteorder('<') not in _WRITABLE:
        raise weights_file.WeightsFileError(
          f'{name} is of dtype {array.dtype}, which .npz has no name for; '
          f'convert it to float32.'
        )
      with zipped.open(f'{name}.npy', 'w', force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


@contextlib.contextmanager
def _damage_reported(path):
  """Turns what zipfile and zlib raise into a WeightsFileError."""
  try:
    yield
  except weights_file.WeightsFileError:
    raise
  except (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # Encryption, and what zipfile has not implemented.
    ValueError,
  ) as error:
    raise weights_file.WeightsFileError(
      f'{path} is not an .npz, or is damaged ({error}); fetch it again.'
    ) from error


def _members(path, archive):
  """Returns {name of an array: its member of the archive}."""
  infos = archive.infolist()
  weights_file.check_count(path, len(infos))
  counts = collections.Counter(info.filename for info in infos)
  twice = [name for name, count in counts.items() if count > 1]
  if twice:
    raise weights_file.WeightsFileError(
      f'{path} has more than one {twice[0][:80]!r}; which one counts?'
    )
  members = {}
  for info in infos:
    if not info.filename.endswith('.npy'):
      raise weights_file.WeightsFileError(
        f'{path} contains {info.filename[:80]!r}, which is no array (.npy).'
      )
    name = info.filename.removesuffix('.npy')
    weights_file.check_name(path, name)
    members[name] = info
  return members


def _check_sizes(path, members, size):
  """Refuses encryption, rare compression and what unpacks to far too much."""
  for member in members:
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
      raise weights_file.WeightsFileError(
        f'{path}: {member.filename} is encrypted or packed in a way that '
        'numpy.savez does not write.'
      )
  num_bytes = sum(member.file_size for member in members)
  limit = MAX_COMPRESSION * size
  if num_bytes > limit:
    raise weights_file.WeightsFileError(
      f'{path} would unpack to {num_bytes} bytes, over {MAX_COMPRESSION} '
      'times its size, which weights do not; numpy.savez writes them unpacked.'
    )


def _layout(path, name, archive, member):
  """Returns the layout of an array, from its first bytes."""
  with _damage_reported(path), archive.open(member) as stream:
    magic = stream.read(8)
    length_bytes = _LENGTH_BYTES.get(tuple(magic[6:]))
    if magic[:6] != b'\x93NUMPY' or length_bytes is None:
      raise zipfile.BadZipFile(f'{name} is not of the format .npy')
    length = int.from_bytes(stream.read(length_bytes), 'little')
    text = stream.read(min(length, _MAX_HEADER + 1)).decode('latin1')
  header, fortran_order = _parse_header(path, name, text)
  offset = len(magic) + length_bytes + length
  if offset + header.num_bytes != member.file_size:
    raise weights_file.WeightsFileError(
      f'{path}: {name} claims the shape {header.shape}, {header.num_bytes} '
      f'bytes, but has {member.file_size - offset}.'
    )
  return Layout(member, offset, fortran_order, header)


def _parse_header(path, name, text):
  """Returns the `Header` and whether the first axis varies fastest."""
  match = _HEADER.fullmatch(text)
  if not match or len(text) > _MAX_HEADER:
    raise weights_file.WeightsFileError(
      f'{path}: {name} does not say that it is an array of plain numbers; '
      f'its header: {text[:80]!r}.'
    )
  code, fortran_order, shape = match.groups()
  shape = tuple(int(side) for side in shape.split(',') if side.strip())
  weights_file.check_shape(path, name, shape)
  if code not in DTYPES:
    raise weights_file.WeightsFileError(
      f'{path}: {name} is of dtype {code}, which no parameter is of; known: '
      f'{", ".join(DTYPES)}.'
    )
  return weights_file.Header(shape, DTYPES[code]), fortran_order == 'True'
