"""An .npz is read as NumPy reads it, or refused as a whole."""

import io
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from vit_jax.weights.files import npz, weights_file

ARRAYS = {
  'head/kernel': np.arange(12, dtype=np.float32).reshape(3, 4),
  'head/bias': np.arange(4, dtype=np.float16),
  'step': np.int32(7),
  'fortran': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


def npy(array):
  stream = io.BytesIO()
  np.save(stream, array)
  return stream.getvalue()


def header(text):
  raw = text.encode('latin1')
  return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(raw)) + raw


def claim(shape, descr="'<f4'"):
  return header(
    f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
  )


@pytest.fixture
def write(tmp_path):
  """Returns write({member: bytes}, method), which returns the path."""

  def write(members, method=zipfile.ZIP_STORED):
    path = tmp_path / 'weights.npz'
    with zipfile.ZipFile(path, 'w', method) as archive:
      for name, content in members.items():
        archive.writestr(name, content)
    return path

  return write


def read(path):
  with npz.NpzFile(path) as file:
    return dict(file)


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_wrote(save, tmp_path):
  save(tmp_path / 'weights.npz', **ARRAYS)
  arrays = read(tmp_path / 'weights.npz')
  assert arrays.keys() == ARRAYS.keys()
  for name, array in ARRAYS.items():
    np.testing.assert_array_equal(arrays[name], array)
    assert arrays[name].dtype == array.dtype


def test_headers_tell_shapes_before_anything_is_read(tmp_path):
  np.savez(tmp_path / 'weights.npz', **ARRAYS)
  with npz.NpzFile(tmp_path / 'weights.npz') as file:
    assert file.headers['head/kernel'].shape == (3, 4)
    assert file.headers['head/bias'].dtype == np.float16
    assert len(file) == len(ARRAYS)


def test_bfloat16_is_recovered_from_two_bytes_without_a_type(tmp_path):
  array = np.linspace(-2, 2, 6).astype(ml_dtypes.bfloat16).reshape(2, 3)
  np.savez(tmp_path / 'weights.npz', a=array, b=array.view('V2'))
  for name, got in read(tmp_path / 'weights.npz').items():
    assert got.dtype == ml_dtypes.bfloat16, name
    np.testing.assert_array_equal(got, array)


def test_a_missing_file_is_said():
  with pytest.raises(weights_file.WeightsFileError, match='No such file'):
    npz.NpzFile('/nowhere/weights.npz')


class Canary:
  """Leaves a file behind when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return (open, (str(self.path), 'w'))


def test_objects_are_refused_and_never_unpickled(write, tmp_path):
  canary = tmp_path / 'canary'
  payload = pickle.dumps(Canary(canary))
  path = write({'a.npy': claim((1,), "'|O'") + payload})
  with pytest.raises(weights_file.WeightsFileError, match='plain numbers'):
    read(path)
  assert not canary.exists()


@pytest.mark.parametrize(
  ('members', 'message'),
  [
    ({'../a.npy': npy(np.ones(2))}, 'no path of a parameter'),
    ({'/a.npy': npy(np.ones(2))}, 'no path of a parameter'),
    ({'a//b.npy': npy(np.ones(2))}, 'no path of a parameter'),
    ({'a\\b.npy': npy(np.ones(2))}, 'no path of a parameter'),
    ({'a\nb.npy': npy(np.ones(2))}, 'no path of a parameter'),
    ({'a' * 4096 + '.npy': npy(np.ones(2))}, 'no path of a parameter'),
    ({'/'.join('a' * 200) + '.npy': npy(np.ones(2))}, 'no path of a para'),
    ({'a.zip': b'PK'}, 'which is no array'),
    ({'a.npy': b'text'}, 'not of the format .npy'),
    ({'a.npy': claim((10**12,))}, r'claims the shape \(1000000000000,\)'),
    ({'a.npy': claim((10**17,) * 8)}, 'claims the shape'),
    ({'a.npy': claim((0, 3))}, 'which no parameter has'),
    ({'a.npy': claim((1,) * 9) + bytes(4)}, 'which no parameter has'),
    ({'a.npy': claim((-1,))}, 'plain numbers'),
    ({'a.npy': claim((1.5,))}, 'plain numbers'),
    ({'a.npy': claim((1,), "'>f4'") + bytes(4)}, 'plain numbers'),
    ({'a.npy': claim((1,), "'<c8'") + bytes(8)}, 'which no parameter is of'),
    ({'a.npy': claim((1,), "'<q7'") + bytes(8)}, 'which no parameter is of'),
    ({'a.npy': claim((1,), "[('a', '<f4')]") + bytes(4)}, 'plain numbers'),
    ({'a.npy': header(' ' * 5000)}, 'plain numbers'),
    ({'a.npy': npy(np.ones(9))[:-1]}, 'but has 71'),
    ({'a.npy': npy(np.ones(9)) + b'more'}, 'but has 76'),
    ({f'{i}.npy': b'' for i in range(5001)}, 'names 5001 arrays'),
  ],
  ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_is_no_file_of_parameters_is_refused(members, message, write):
  with pytest.raises(weights_file.WeightsFileError, match=message):
    read(write(members))


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_name_used_twice_is_refused(tmp_path):
  path = tmp_path / 'weights.npz'
  with zipfile.ZipFile(path, 'w') as archive:
    for value in 1.0, 2.0:
      archive.writestr('a.npy', npy(np.float32(value)))
  with pytest.raises(weights_file.WeightsFileError, match='more than one'):
    read(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(write):
  bomb = claim((1 << 23,)) + bytes(1 << 25)
  path = write({'a.npy': bomb}, zipfile.ZIP_DEFLATED)
  with pytest.raises(weights_file.WeightsFileError, match='would unpack to'):
    read(path)


def test_other_compression_is_refused(write):
  path = write({'a.npy': npy(np.ones(2))}, zipfile.ZIP_BZIP2)
  with pytest.raises(
    weights_file.WeightsFileError, match='encrypted or packed'
  ):
    read(path)


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_data_that_end_before_the_claimed_size_are_found(method, write):
  content = claim((100,)) + bytes(4)
  path = write({'a.npy': content}, method)
  size, claimed = (
    struct.pack('<L', size) for size in (len(content), len(content) + 396)
  )
  path.write_bytes(path.read_bytes().replace(size, claimed))
  with pytest.raises(weights_file.WeightsFileError, match='is damaged'):
    read(path)


def test_encryption_is_refused(write):
  path = write({'a.npy': npy(np.ones(2))})
  raw = bytearray(path.read_bytes())
  raw[6] |= 1  # The flags of the array,
  raw[raw.index(b'PK\1\2') + 8] |= 1  # and of its entry in the directory.
  path.write_bytes(raw)
  with pytest.raises(weights_file.WeightsFileError, match='is encrypted'):
    read(path)


def test_a_flipped_bit_in_the_data_is_found(write):
  path = write({'a.npy': npy(np.zeros(100))})
  raw = bytearray(path.read_bytes())
  raw[300] ^= 1
  path.write_bytes(raw)
  with pytest.raises(weights_file.WeightsFileError, match='Bad CRC'):
    read(path)


def test_a_file_cut_short_is_found(tmp_path):
  path = tmp_path / 'weights.npz'
  np.savez(path, **ARRAYS)
  path.write_bytes(path.read_bytes()[:-10])
  with pytest.raises(weights_file.WeightsFileError, match='is damaged'):
    read(path)
