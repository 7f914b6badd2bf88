""".safetensors, read without trusting it.

The layout (huggingface.co/docs/safetensors): eight bytes with the length of a
JSON header, the header, then the data of all arrays without a gap.
"""

import json

import ml_dtypes
import numpy as np

from vit_jax import errors, files
from vit_jax.weights.files import weights_file

DTYPES = {
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'F32': np.dtype(np.float32),
  'F64': np.dtype(np.float64),
  'BOOL': np.dtype(np.bool_),
  'I8': np.dtype(np.int8),
  'I16': np.dtype(np.int16),
  'I32': np.dtype(np.int32),
  'I64': np.dtype(np.int64),
  'U8': np.dtype(np.uint8),
  'U16': np.dtype(np.uint16),
  'U32': np.dtype(np.uint32),
  'U64': np.dtype(np.uint64),
}

MAX_HEADER = 4 << 20  # Bytes; 5,000 arrays with long names need a fifth.
_LENGTH_BYTES = 8
_METADATA = '__metadata__'


class SafetensorsFile(weights_file.WeightsFile):
  """{name: array} of a .safetensors; each look-up reads one array."""

  def __init__(self, path):
    """Opens the file and checks what it claims about each array.

    Raises:
      WeightsFileError: it is not a .safetensors of numbers, or is damaged.
    """
    self._file = weights_file.open_binary(path)
    try:
      entries, self._start = _read_header(path, self._file)
      weights_file.check_count(path, len(entries))
      self._offsets, headers = {}, {}
      for name, entry in entries.items():
        headers[name], self._offsets[name] = _parse_entry(path, name, entry)
      size = weights_file.size_of(self._file) - self._start
      _check_layout(path, headers, self._offsets, size)
    except BaseException:
      self._file.close()
      raise
    super().__init__(path, headers)

  def __getitem__(self, name):
    header = self.headers[name]
    raw = weights_file.new(header.num_bytes)
    self._file.seek(self._start + self._offsets[name])
    if self._file.readinto(raw) != raw.size:
      raise _damaged(self.path, f'{name} ends too early')
    return raw.view(header.dtype).reshape(header.shape)

  def close(self):
    self._file.close()


def save(path, flat, metadata=None):
  """Writes {name: array}, aligned, one array in memory at a time.

  Args:
    path: of the file.
    flat: arrays, or views of them in any layout.
    metadata: {word: text}; transformers wants {'format': 'pt'}.

  Raises:
    WeightsFileError: a name or dtype that `SafetensorsFile` would refuse, or
      the file can't be written.
  """
  weights_file.check_count(path, len(flat))
  codes = {str(dtype): code for code, dtype in DTYPES.items()}
  # The widest first: then every array is aligned, as readers like it.
  names = sorted(flat, key=lambda name: (-flat[name].dtype.itemsize, name))
  header, end = {_METADATA: dict(metadata)} if metadata else {}, 0
  for name in names:
    array = flat[name]
    weights_file.check_name(path, name)
    weights_file.check_shape(path, name, array.shape)
    start, end = end, end + array.nbytes
    header[name] = {
      'dtype': errors.choose('dtype', str(array.dtype), codes),
      'shape': array.shape,
      'data_offsets': [start, end],
    }
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 8)
  with weights_file.replacing(path) as file:
    file.write(len(text).to_bytes(_LENGTH_BYTES, 'little') + text)
    for name in names:
      file.write(np.ascontiguousarray(flat[name]).view(np.uint8).data)


def _damaged(path, reason):
  return weights_file.WeightsFileError(
    f'{path} is not a .safetensors, or is damaged ({reason}); fetch it again.'
  )


def _read_header(path, file):
  """Returns {name: what the file says of it} and where the data begin."""
  length = int.from_bytes(file.read(_LENGTH_BYTES), 'little')
  start = _LENGTH_BYTES + length
  if length > MAX_HEADER or start > weights_file.size_of(file):
    raise _damaged(path, f'a header of {length} bytes does not fit')
  try:
    entries = files.parse_json(file.read(length))
  except ValueError as error:
    raise _damaged(path, f'header: {error}') from error
  if not isinstance(entries, dict):
    raise _damaged(path, 'the header is no table of arrays')
  entries.pop(_METADATA, None)
  return entries, start


def _parse_entry(path, name, entry):
  """Returns the `Header` of an array and its offset in the data."""
  weights_file.check_name(path, name)
  if not isinstance(entry, dict):
    raise _damaged(path, f'{name} is not described')
  dtype = entry.get('dtype')
  shape, offsets = entry.get('shape'), entry.get('data_offsets')
  for numbers in shape, offsets:
    if not isinstance(numbers, list) or any(
      type(n) is not int for n in numbers
    ):
      raise _damaged(path, f'{name} has no shape or no offsets')
  if not isinstance(dtype, str) or dtype not in DTYPES:
    raise weights_file.WeightsFileError(
      f'{path}: {name} is of dtype {str(dtype)[:20]}, which no parameter is '
      f'of; known: {", ".join(DTYPES)}.'
    )
  weights_file.check_shape(path, name, shape)
  header = weights_file.Header(tuple(shape), DTYPES[dtype])
  if len(offsets) != 2 or offsets[1] - offsets[0] != header.num_bytes:
    raise weights_file.WeightsFileError(
      f'{path}: {name} claims the shape {header.shape}, {header.num_bytes} '
      f'bytes, at the offsets {offsets}.'
    )
  return header, offsets[0]


def _check_layout(path, headers, offsets, size):
  """Arrays follow one another, and fill the file to its end."""
  end = 0
  for name in sorted(offsets, key=offsets.get):
    if offsets[name] != end:
      raise _damaged(path, f'{name} overlaps another array, or leaves a gap')
    end += headers[name].num_bytes
  if end != size:
    raise _damaged(path, f'{end} of {size} bytes are described')
