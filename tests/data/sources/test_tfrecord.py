import pathlib
import struct
from typing import NamedTuple

import pytest

from vit_jax import errors
from vit_jax.data import bad_examples
from vit_jax.data.sources import tfrecord


class Instruction(NamedTuple):
  """What TFDS says of a file of a split."""

  filename: str
  skip: int
  take: int
  examples_in_shard: int


def record(data):
  length = struct.pack('<Q', len(data))
  return b''.join(
    [
      length,
      struct.pack('<I', tfrecord.masked_crc(length)),
      data,
      struct.pack('<I', tfrecord.masked_crc(data)),
    ]
  )


DATA = [bytes([number]) * (number * 37) for number in range(20)]


@pytest.fixture
def files(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  (tmp_path / 'set').mkdir()
  paths = [tmp_path / 'set' / f'x-{shard}' for shard in range(2)]
  paths[0].write_bytes(b''.join(map(record, DATA[:12])))
  paths[1].write_bytes(b''.join(map(record, DATA[12:])))
  return (
    Instruction(str(paths[0]), 0, 12, 12),
    Instruction(str(paths[1]), 0, 8, 8),
  )


def test_the_checksum_is_crc_32c_masked():
  # RFC 3720, B.4: CRC-32C of 32 bytes of zeros, and of 0 to 31.
  for data, crc in (bytes(32), 0x8A9136AA), (bytes(range(32)), 0x46DD794E):
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert tfrecord.masked_crc(data) == masked


def test_records_are_read_in_any_order(files):
  records = tfrecord.read(files, 'x-train')
  assert len(records) == 20
  for index in 19, 0, 12, 11, 5:
    assert records[index] == DATA[index]


def test_parts_of_files_are_read(files):
  parts = (
    files[0]._replace(skip=3, take=4),
    files[1]._replace(skip=7, take=1),
    files[0]._replace(skip=10, take=2),
  )
  records = tfrecord.read(parts, 'x-train')
  assert [records[i] for i in range(7)] == [*DATA[3:7], DATA[19], *DATA[10:12]]


def test_the_index_is_built_once_and_lies_beside_the_data(files, monkeypatch):
  tfrecord.read(files, 'x-train')
  folder = pathlib.Path(files[0].filename).parent / '.vit_jax'
  assert [path.name.startswith('x-train-') for path in folder.iterdir()] == [
    True
  ]
  monkeypatch.setattr(tfrecord, '_index', None)
  assert tfrecord.read(files, 'x-train')[15] == DATA[15]


def test_where_nothing_can_be_written_the_index_is_in_the_cache(
  files, tmp_path, monkeypatch
):
  # A file in the way of the folder: even root can write none there.
  (pathlib.Path(files[0].filename).parent / '.vit_jax').write_text('')
  tfrecord.read(files, 'x-train')
  (kept,) = (tmp_path / 'cache/vit_jax/tfrecord_index').iterdir()
  assert kept.name.startswith('x-train-')
  monkeypatch.setattr(tfrecord, '_index', None)
  assert tfrecord.read(files, 'x-train')[15] == DATA[15]


def test_another_file_of_the_same_name_gets_another_index(files):
  tfrecord.read(files, 'x-train')
  path = pathlib.Path(files[1].filename)
  path.write_bytes(b''.join(map(record, DATA[3:11])))
  assert tfrecord.read(files, 'x-train')[12] == DATA[3]


def break_file(path, change):
  data = bytearray(path.read_bytes())
  path.write_bytes(change(data))


def test_a_file_that_is_cut_off_is_named_with_the_offset(files):
  path = pathlib.Path(files[0].filename)
  start = sum(len(record(data)) for data in DATA[:11])
  for size in len(path.read_bytes()) - 1, start + 40, start + 5:
    break_file(path, lambda data, size=size: data[:size])
    with pytest.raises(
      bad_examples.BrokenShardError,
      match=rf'x-0 is truncated: .* at byte {start} .*at byte {size}',
    ):
      tfrecord.read(files, 'x-train')


def test_a_whole_record_too_few_is_noticed(files):
  path = pathlib.Path(files[1].filename)
  break_file(path, lambda data: data[: -len(record(DATA[-1]))])
  with pytest.raises(
    bad_examples.BrokenShardError, match=r'x-1 has 7 records and should have 8'
  ):
    tfrecord.read(files, 'x-train')


def test_bytes_that_are_no_record_are_named_with_the_offset(files):
  path = pathlib.Path(files[0].filename)
  offset = sum(len(record(data)) for data in DATA[:5])

  def change(data):
    data[offset] ^= 1
    return data

  break_file(path, change)
  with pytest.raises(
    bad_examples.BrokenShardError, match=rf'x-0 has no record at byte {offset}:'
  ):
    tfrecord.read(files, 'x-train')


def test_a_damaged_record_is_named_and_the_others_are_read(files):
  path = pathlib.Path(files[0].filename)
  offset = sum(len(record(data)) for data in DATA[:5])
  records = tfrecord.read(files, 'x-train')

  def change(data):
    data[offset + 100] ^= 1
    return data

  break_file(path, change)
  with pytest.raises(
    errors.UserError, match=rf'x-0: the record at byte {offset} is corrupt'
  ) as caught:
    records[5]
  assert not isinstance(caught.value, bad_examples.BrokenShardError)
  assert [records[4], records[6]] == [DATA[4], DATA[6]]


def test_a_missing_file_is_named(files):
  pathlib.Path(files[1].filename).unlink()
  with pytest.raises(
    bad_examples.BrokenShardError, match=r'x-1 of the data set is missing'
  ):
    tfrecord.read(files, 'x-train')


def test_a_file_that_changes_after_it_was_indexed_is_noticed(files):
  records = tfrecord.read(files, 'x-train')
  path = pathlib.Path(files[0].filename)
  offset = sum(len(record(data)) for data in DATA[:9])
  break_file(path, lambda data: data[: offset + 50])
  assert records[8] == DATA[8]
  with pytest.raises(
    bad_examples.BrokenShardError, match=rf'x-0 is truncated: .* byte {offset} '
  ):
    records[9]
  with pytest.raises(bad_examples.BrokenShardError, match=r'x-0 is truncated'):
    records[11]
