"""Damaged and forged files: typed errors, little memory, nothing executed."""

import contextlib
import gc
import io
import json
import struct
import sys
import time
import tracemalloc
import types
import zipfile

import numpy as np
import pytest

from vit_jax.weights.files import npz, safetensors, weights_file

MEGABYTE = 1 << 20
NUM_MUTANTS = 500  # Of each format.
READERS = {
  'npz': npz.NpzFile,
  'packed npz': npz.NpzFile,
  'safetensors': safetensors.SafetensorsFile,
}
ARRAYS = {
  f'block_{i}/kernel': np.arange(i, i + 6, dtype=np.float32).reshape(2, 3)
  for i in range(4)
}


class Watch:
  """Notes what no reader of weights may do, while `on`.

  Audit hooks stay for the life of the process, so there is one.
  """

  FORBIDDEN = ('exec', 'compile', 'import', 'subprocess', 'os.', 'socket')

  def __init__(self):
    self.on = False
    self.seen = []
    sys.addaudithook(self)

  def take(self):
    """Returns what was seen since the last time."""
    seen, self.seen = self.seen, []
    return seen

  def __call__(self, event, arguments):
    if not self.on:
      return
    writes = event == 'open' and any(
      letter in str(arguments[1]) for letter in 'wax+'
    )
    if writes or event.startswith(self.FORBIDDEN):
      self.seen.append((event, arguments))


@pytest.fixture(scope='module')
def watch():
  return Watch()


def npz_bytes(save):
  stream = io.BytesIO()
  save(stream, **ARRAYS)
  return stream.getvalue()


def safetensors_bytes():
  header, data = {}, b''
  for name, array in ARRAYS.items():
    start = len(data)
    data += array.tobytes()
    header[name] = {
      'dtype': 'F32',
      'shape': array.shape,
      'data_offsets': [start, len(data)],
    }
  header = json.dumps(header).encode()
  return struct.pack('<Q', len(header)) + header + data


SAMPLES = {
  'npz': npz_bytes(np.savez),
  'packed npz': npz_bytes(np.savez_compressed),
  'safetensors': safetensors_bytes(),
}


def mutate(raw, rng):
  """Returns the bytes with a few overwritten, some cut out or repeated."""
  raw = bytearray(raw)
  kind = rng.integers(4)
  place = int(rng.integers(len(raw)))
  if kind == 0:
    return bytes(raw[:place])
  if kind == 1:
    other = int(rng.integers(len(raw)))
    return bytes(raw[:place] + raw[other:])
  for _ in range(int(rng.integers(1, 4))):
    raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
  return bytes(raw)


def read(kind, path):
  with READERS[kind](path) as file:
    return {name: file[name] for name in file}


@pytest.mark.parametrize('kind', READERS)
def test_damage_gives_our_error_and_executes_nothing(kind, tmp_path, watch):
  rng = np.random.default_rng(0)
  path = tmp_path / 'weights'
  path.write_bytes(SAMPLES[kind])
  read(kind, path)  # What Python imports late, it imports now.
  refused = 0
  for _ in range(NUM_MUTANTS):
    path.write_bytes(mutate(SAMPLES[kind], rng))
    arrays = {}
    watch.on = True
    try:
      arrays = read(kind, path)
    except weights_file.WeightsFileError:
      refused += 1
    finally:
      watch.on = False
    if kind != 'safetensors':  # Its checksums leave no change unseen.
      for name, array in arrays.items():
        assert np.array_equal(array, ARRAYS[name])
  assert refused > NUM_MUTANTS / 4
  assert watch.take() == []


def bomb(method):
  """A megabyte that claims to be a gigabyte."""
  stream = io.BytesIO()
  header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (268435456,), }"
  header = b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header
  with (
    zipfile.ZipFile(stream, 'w', method) as archive,
    archive.open('a.npy', 'w') as member,
  ):
    member.write(header)
    zeros = bytes(MEGABYTE)
    for _ in range(64 if method == zipfile.ZIP_DEFLATED else 0):
      member.write(zeros)
  return stream.getvalue()


def many_members():
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, 'w') as archive:
    for i in range(9000):
      archive.writestr(f'{i}.npy', b'')
  return stream.getvalue()


def safetensors_header(text):
  return struct.pack('<Q', len(text)) + text


HOSTILE = {
  'deflated bomb': ('npz', lambda: bomb(zipfile.ZIP_DEFLATED)),
  'false claim': ('npz', lambda: bomb(zipfile.ZIP_STORED)),
  'many members': ('npz', many_members),
  'long header': ('safetensors', lambda: struct.pack('<Q', 1 << 63)),
  'deep header': (
    'safetensors',
    lambda: safetensors_header(b'{"a":' * 200_000),
  ),
  'wide header': (
    'safetensors',
    lambda: safetensors_header(b'[' + b'[],' * 300_000 + b'[]]'),
  ),
  'long number': (
    'safetensors',
    lambda: safetensors_header(b'{"a":' + b'9' * 900_000 + b'}'),
  ),
}


def test_the_watch_sees_what_it_should(watch, tmp_path):
  watch.on = True
  try:
    compile('1', 'text', 'eval')
    (tmp_path / 'file').write_text('')
  finally:
    watch.on = False
  assert [event for event, _ in watch.take()] == ['compile', 'open']


@contextlib.contextmanager
def measured():
  """Yields what is told the seconds of this process, and the peak in bytes."""
  cost = types.SimpleNamespace()
  gc.freeze()  # What other tests have left is not looked through again.
  tracemalloc.start()
  start = time.process_time()
  yield cost
  cost.seconds = time.process_time() - start
  _, cost.peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  gc.unfreeze()


@pytest.fixture(scope='module')
def honest(tmp_path_factory):
  """Measures a megabyte of header that describes arrays which are there."""
  path = tmp_path_factory.mktemp('honest') / 'weights'
  arrays = {f'{i}/' + 'x' * 150: np.zeros(1, np.float32) for i in range(5000)}
  safetensors.save(path, arrays)
  assert path.stat().st_size > MEGABYTE

  def measure():
    with measured() as cost:
      read('safetensors', path)
    return cost

  return measure


@pytest.mark.parametrize('case', HOSTILE)
def test_a_hostile_file_costs_little_time_and_memory(case, tmp_path, honest):
  kind, make = HOSTILE[case]
  path = tmp_path / 'weights'
  path.write_bytes(make())
  assert path.stat().st_size < 1.5 * MEGABYTE
  ratios = []
  for _ in range(20):  # What else the machine does can make some longer.
    with measured() as cost, pytest.raises(weights_file.WeightsFileError):
      read(kind, path)
    assert cost.peak < 64 * MEGABYTE
    ratios.append(cost.seconds / honest().seconds)
    if ratios[-1] < 2:
      break
  # A parser that is quadratic in the digits of a number takes eight times it.
  assert min(ratios) < 4
