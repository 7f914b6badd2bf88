"""A small file costs little memory and time, whatever it claims."""

import json
import os
import shutil
import struct
import types

import numpy as np
import pytest
import readers
import samples
import tensorstore

from vit_jax import errors
from vit_jax.data.transforms import decoding

MANY = 100_000
JSON, LINES = (
  [name for name, each in readers.READERS.items() if each.grammar == grammar]
  for grammar in ('json', 'lines')
)
# These begin anew, as after a crash, read as much of it as they need, or tell
# on the page of a run what is wrong and show the rest.
FORGIVING = (
  *('lock', 'TFRecord index', 'npy', 'preprocessor_config.json', 'wandb.json'),
  *('metrics of a report', 'timings of a report'),
)


def sample(reader, folder):
  return readers.READERS[reader].sample(folder)


@pytest.mark.parametrize('reader', readers.READERS)
def test_what_its_authors_write_is_read(child, tmp_path, reader):
  answer = child.read(reader, sample(reader, tmp_path), tmp_path)
  assert answer['outcome'] == 'read', answer['message']


@pytest.mark.parametrize('reader', readers.READERS)
def test_what_is_no_file_is_not_read(child, tmp_path, reader):
  path = sample(reader, tmp_path)
  path.unlink()
  os.mkfifo(path)
  child.read(reader, path, tmp_path)
  path.unlink()
  path.mkdir()
  child.read(reader, path, tmp_path)
  path.rmdir()
  for target in '/dev/zero', tmp_path / 'gone':
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    child.read(reader, path, tmp_path, '/dev/zero')


@pytest.mark.parametrize('reader', readers.READERS)
def test_what_is_empty_enormous_or_no_text_is_refused_in_a_line(
  child, tmp_path, reader
):
  """The enormous one takes no room on the disk, and 64 GB when read."""
  path = sample(reader, tmp_path)
  os.truncate(path, 64 << 30)
  answer = child.read(reader, path, tmp_path)
  assert answer['outcome'] == 'refused' or reader in FORGIVING, answer
  for data in b'', b'\0', b'\xff' * 1000, b'\xef\xbb\xbf{}':
    path.unlink(missing_ok=True)  # A lock or an index is written over.
    path.write_bytes(data)
    answer = child.read(reader, path, tmp_path)
    assert len(answer['message']) < 10_000


DEEP = {
  'lists': '[' * MANY,
  'lists that end': '[' * MANY + ']' * MANY,
  'objects': '{"a":' * MANY,
  'fifty': '{"a":' * 50 + '1' + '}' * 50,
  'wide': '[' + '[],' * MANY + '[]]',
  'a list': '[1, 2, 3]',
  'a number': '7',
  'null': 'null',
  'a long number': '1' * MANY,
  'a large number': '1e999',
  'NaN': '{"a": NaN}',
  'a cut text': '{"a": "b',
  'half a character': '{"a": "\\ud800"}',
  'a name twice': '{"a": 1, "a": 2}',
  'a long name': json.dumps({'a' * MANY: 'b' * MANY}),
  'a NUL': '{"\\u0000": "\\u0000"}',
}


@pytest.mark.parametrize('reader', JSON + LINES)
def test_json_of_any_form_is_refused_in_a_line(child, tmp_path, reader):
  path = sample(reader, tmp_path)
  for text in DEEP.values():
    path.write_text(f'{text}\n')
    child.read(reader, path, tmp_path)


NUMBERS = (0, -1, 1 << 31, 1 << 70, 1e308, -0.5, True, None, '', [], {}, 'x')


def places(node, path=()):
  """Yields the path of every value in JSON."""
  items = node.items() if isinstance(node, dict) else enumerate(node)
  for key, value in items:
    yield (*path, key)
    if isinstance(value, dict | list):
      yield from places(value, (*path, key))


@pytest.mark.parametrize('reader', [n for n in JSON if n != 'lock'])
def test_every_value_has_a_range(child, tmp_path, reader):
  path = sample(reader, tmp_path)
  text = path.read_text()
  chosen = list(places(json.loads(text)))
  rng = np.random.default_rng(0)
  chosen = [chosen[i] for i in rng.permutation(len(chosen))[:3]]
  for *outer, last in chosen:
    for value in NUMBERS:
      changed = json.loads(text)
      node = changed
      for key in outer:
        node = node[key]
      node[last] = value
      path.write_text(json.dumps(changed))
      child.read(reader, path, tmp_path)


# Orbax ------------------------------------------------------------------------


def change_array(folder, **fields):
  """Changes what TensorStore reads of the shape of an exported array."""
  store = tensorstore.KvStore.open(f'file://{folder}/params/|ocdbt:').result()
  name = 'head.kernel/.zarray'
  store[name] = json.dumps({**json.loads(store[name]), **fields}).encode()


@pytest.mark.parametrize(
  'fields',
  [
    {'shape': [1 << 33], 'chunks': [1 << 33]},
    {'shape': [1 << 33], 'chunks': [1 << 20]},
    {'shape': [1 << 29], 'chunks': [1 << 29]},
    {'chunks': [1 << 31, 3]},
    {'chunks': [1 << 20, 1 << 20]},
    {'shape': [-1, 3]},
    {'dtype': '|O'},
  ],
)
@pytest.mark.parametrize('reader', ['exported', 'step'])
def test_orbax_is_not_asked_for_what_files_can_not_hold(
  child, tmp_path, reader, fields
):
  path = sample('exported', tmp_path)
  change_array(tmp_path, **fields)
  if reader == 'step':
    step = samples.step_dir(tmp_path / 'checkpoints')
    shutil.rmtree(step / 'state')
    shutil.copytree(tmp_path / 'params', step / 'state')
    path = samples.seal(step, {'params/head/kernel': 'float32 [8, 3]'})
  child.refuses(reader, path, tmp_path)


@pytest.mark.parametrize('name', ['../../x', '/etc/passwd', '', '.', 'a\x1b'])
def test_names_of_arrays_stay_in_their_folder(child, tmp_path, name):
  path = sample('exported', tmp_path)
  content = json.loads(path.read_text())
  rows = content['tree_metadata']
  row = rows.pop("('head', 'bias')")
  row['key_metadata'][1]['key'] = name
  rows[str(('head', name))] = row
  path.write_text(json.dumps(content))
  child.refuses('exported', path, tmp_path)


def test_exported_numbers_that_have_changed_are_refused(child, tmp_path):
  """Every bit counts: other weights are never read in silence."""
  path = sample('exported', tmp_path)
  rng = np.random.default_rng(0)
  files = [each for each in sorted(path.parent.rglob('*')) if each.is_file()]
  refused = 0
  for _ in range(60):
    file = files[rng.integers(len(files))]
    data = file.read_bytes()
    changed = bytearray(data)
    place = rng.integers(len(data))
    changed[place] ^= 1 << rng.integers(8)
    file.write_bytes(changed)
    answer = child.read('exported', path, tmp_path)
    refused += answer['outcome'] == 'refused'
    file.write_bytes(data)  # The reader compares with what was saved.
  assert refused > 5


# Pictures ---------------------------------------------------------------------


def test_a_picture_is_judged_by_its_header(child, tmp_path):
  path = samples.write(tmp_path / 'a.png', samples.png_of(30_000, 30_000))
  child.refuses('image png', path)


@pytest.mark.parametrize(
  ('suffix', 'format', 'options'),
  [
    ('png', 'PNG', {'compress_level': 1}),
    ('jpg', 'JPEG', {'progressive': True, 'subsampling': 0}),
  ],
)
def test_the_largest_picture_takes_what_is_documented(
  child, tmp_path, suffix, format, options
):
  side = int(decoding.MAX_PIXELS**0.5)
  pixels = np.zeros((side, side, 3), np.uint8)
  data = samples.image_bytes(format, pixels, **options)
  path = samples.write(tmp_path / f'a.{suffix}', data)
  answer = child.read(f'image {suffix}', path, most=500 << 20)
  assert answer['outcome'] == 'read'


def segment(kind, data):
  return struct.pack('>BBH', 0xFF, kind, len(data) + 2) + data


def test_a_picture_is_not_refined_for_ever(child, tmp_path):
  """Each of 10,000 scans is 10 bytes and a pass over the image."""
  data = samples.IMAGES['progressive.jpg']()
  scan = segment(0xDA, b'\x01\x01\x00\x01\x3f\x00')
  data = data.replace(b'\xff\xd9', scan * 10_000 + b'\xff\xd9')
  path = samples.write(tmp_path / 'a.jpg', data)
  assert 'scans' in child.refuses('image jpg', path)


@pytest.mark.parametrize(
  'tags',
  [
    {322: 1 << 20, 323: 1 << 20},  # Sides of a tile.
    {277: 60_000},  # Samples of a pixel.
  ],
)
def test_pieces_of_a_tiff_are_judged_before_they_are_read(tags):
  tags = {273: tuple(range(10)), **tags}
  file = types.SimpleNamespace(format='TIFF', tag_v2=tags)
  with pytest.raises(errors.UserError, match='TIFF of 10 pieces'):
    decoding._check_pieces(file, decoding.MAX_PIXELS)


def test_arrays_of_data_do_not_unpack_to_far_more(child, tmp_path):
  path = tmp_path / 'a.npz'
  np.savez_compressed(
    path,
    train_image=np.zeros((400, 1000, 1000), np.uint8),
    train_label=np.zeros(400, int),
  )
  assert path.stat().st_size < 1 << 20
  child.refuses('data npz', path)


def test_arrays_claim_no_more_than_there_is(child, tmp_path):
  header = (
    b"{'descr': '<f4', 'fortran_order': False, "
    b"'shape': (1000000, 224, 224, 3), }"
  )
  data = b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header
  path = samples.write(tmp_path / 'a.npy', data)
  child.refuses('npy', path)
