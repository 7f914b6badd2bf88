"""A .safetensors is read as written, or refused as a whole."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest

from vit_jax.weights.files import safetensors, weights_file

FOUR = {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}


@pytest.fixture
def write(tmp_path):
  """Returns write(header, data), which returns the path."""

  def write(header, data=b''):
    if not isinstance(header, bytes):
      header = json.dumps(header).encode()
    path = tmp_path / 'model.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header + data)
    return path

  return write


def read(path):
  with safetensors.SafetensorsFile(path) as file:
    return dict(file)


def test_arrays_are_those_that_were_written(write):
  kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
  bias = np.linspace(-1, 1, 3).astype(ml_dtypes.bfloat16)
  header = {
    '__metadata__': {'format': 'pt'},
    'bias': {'dtype': 'BF16', 'shape': [3], 'data_offsets': [24, 30]},
    'kernel': {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]},
  }
  arrays = read(write(header, kernel.tobytes() + bias.tobytes()))
  np.testing.assert_array_equal(arrays['kernel'], kernel)
  np.testing.assert_array_equal(arrays['bias'], bias)
  assert arrays['bias'].dtype == ml_dtypes.bfloat16


def test_a_missing_file_is_said():
  with pytest.raises(weights_file.WeightsFileError, match='No such file'):
    safetensors.SafetensorsFile('/nowhere/model.safetensors')


@pytest.mark.parametrize(
  ('header', 'data', 'message'),
  [
    (b'{"a": NaN}', b'', 'NaN is no number'),
    (b'{"a": 1, "a": 2}', b'', 'used twice'),
    (b'\xff\xfe', b'', 'header'),
    (b'[' * 100_000, b'', 'header'),
    (b'[]', b'', 'no table'),
    (b'{"a": 1' + b'0' * 5000 + b'}', b'', 'header'),
    ({'a': 3}, b'', 'is not described'),
    ({'a': FOUR | {'dtype': 'F8'}}, bytes(4), 'is of dtype F8'),
    ({'a': FOUR | {'dtype': ['F32']}}, bytes(4), 'which no parameter is of'),
    ({'a': FOUR | {'shape': [1.0]}}, bytes(4), 'has no shape'),
    ({'a': FOUR | {'shape': [True]}}, bytes(4), 'has no shape'),
    ({'a': FOUR | {'shape': [-1]}}, bytes(4), 'which no parameter has'),
    ({'a': FOUR | {'shape': [10**12]}}, bytes(4), 'claims the shape'),
    ({'a': FOUR | {'data_offsets': [0]}}, bytes(4), 'at the offsets'),
    ({'a': FOUR | {'data_offsets': [-4, 0]}}, bytes(4), 'overlaps'),
    ({'a': FOUR | {'data_offsets': [4, 8]}}, bytes(8), 'leaves a gap'),
    ({'a': FOUR, 'b': FOUR}, bytes(4), 'overlaps'),
    ({'a': FOUR}, bytes(3), 'are described'),
    ({'a': FOUR}, bytes(5), 'are described'),
    ({'../a': FOUR}, bytes(4), 'no path of a parameter'),
    ({'a\0': FOUR}, bytes(4), 'no path of a parameter'),
    ({'': FOUR}, bytes(4), 'no path of a parameter'),
    ({str(i): 0 for i in range(5001)}, b'', 'names 5001 arrays'),
  ],
)
def test_what_is_no_file_of_parameters_is_refused(header, data, message, write):
  with pytest.raises(weights_file.WeightsFileError, match=message):
    read(write(header, data))


@pytest.mark.parametrize('length', [1 << 63, 1 << 22, 3])
def test_a_header_that_does_not_fit_is_refused(length, tmp_path):
  path = tmp_path / 'model.safetensors'
  path.write_bytes(struct.pack('<Q', length))
  with pytest.raises(weights_file.WeightsFileError, match='does not fit'):
    read(path)


def test_a_file_that_shrinks_while_open_is_found(write):
  size = 1 << 20  # More than is buffered.
  header = {'dtype': 'U8', 'shape': [size], 'data_offsets': [0, size]}
  path = write({'a': header}, bytes(size))
  with safetensors.SafetensorsFile(path) as file:
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(weights_file.WeightsFileError, match='ends too early'):
      file['a']
