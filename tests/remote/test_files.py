"""Files of real emulators of Google's and Amazon's stores."""

import fsspec
import pytest

from vit_jax import errors, files
from vit_jax.files import folders, remote


def test_an_object_is_read_as_it_was_written(folder):
  path = folder / 'a/b.txt'
  assert not path.exists() and not folder.is_dir()
  files.write_text(path, 'first')
  files.write_text(path, 'ü' * 1000)
  assert files.read_bytes(path, 1 << 20).decode() == 'ü' * 1000
  assert path.is_file() and not path.is_dir() and path.stat().st_size == 2000
  assert folder.is_dir() and (folder / 'a').is_dir()
  assert [p.name for p in folder.iterdir()] == ['a']


def test_large_objects_come_whole(folder):
  path, data = folder / 'large', bytes(range(256)) * (40 << 10)
  with files.replacing(path) as file:
    file.write(data)
  assert path.read_bytes() == data
  with files.open_regular(path) as file:
    file.seek(5 << 20)
    assert file.read(300) == data[5 << 20 :][:300]


def test_nothing_appears_where_writing_fails(folder):
  with pytest.raises(ZeroDivisionError), files.replacing(folder / 'x') as file:
    file.write(b'half')
    raise ZeroDivisionError
  assert not (folder / 'x').exists() and not folder.iterdir()


def test_an_object_is_created_once(folder):
  path = folder / 'lock'
  path.create(b'mine')
  with pytest.raises(FileExistsError):
    path.create(b'theirs')
  assert path.read_bytes() == b'mine'


def test_lines_are_appended(folder):
  for line in 'ab', 'cd':
    files.append_line(folder / 'lines', line)
  assert files.read_lines(folder / 'lines') == ['ab', 'cd']
  assert files.read_lines(folder / 'none') == []


def test_folders_are_walked_moved_and_removed(folder):
  for name in 'a/1', 'a/b/2', 'c':
    files.write_text(folder / name, name)
  named = {'a/1': 3, 'a/b/2': 5, 'c': 1}
  assert folders.walk(folder) == {folder / k: v for k, v in named.items()}
  folders.move(folder / 'a', folder / 'd', first=['1'])
  assert {p.relative_to(folder) for p in folders.walk(folder)} == {
    *('d/1', 'd/b/2', 'c')
  }
  folders.remove(folder)
  assert folders.walk(folder) == {} and not folder.exists()
  folders.remove(folder)


def test_what_others_write_is_seen_at_once(folder, store):
  path = folder / 'late'
  assert not path.exists() and folder.iterdir() == []
  other = fsspec.filesystem(store.kind, skip_instance_cache=True)
  other.pipe_file(path.key, b'x')
  assert path.exists() and folder.iterdir() == [path]


@pytest.mark.parametrize(
  'faults',
  [
    {'failing': 0.3, 'status': 503},
    {'failing': 0.3, 'status': 429},
    {'lost': 0.2},
    {'seconds': 0.05},
  ],
  ids=['503', '429', 'lost', 'slow'],
)
def test_a_store_in_trouble_loses_nothing(folder, store, faults):
  with store.failing(**faults):
    for number in range(4):
      (folder / str(number)).create(b'%d' % number)
    assert [p.read_bytes() for p in folder.iterdir()] == [
      b'%d' % number for number in range(4)
    ]


def test_a_refusal_is_told_at_once(folder, store):
  with store.failing(failing=1.0, status=403), pytest.raises(PermissionError):
    (folder / 'x').write_bytes(b'x')
  with store.failing(max_bytes=0), pytest.raises(OSError, match=r'(?i)quota'):
    (folder / 'x').write_bytes(b'x')


def test_a_name_is_no_reason(folder, store):
  path = folder / 'forbidden/403.jpg'
  path.write_bytes(b'x')
  with store.failing(lost=0.3):
    assert [path.read_bytes() for _ in range(6)] == [b'x'] * 6
  for name in path.key, path.name:
    with (
      pytest.raises(OSError, match='lost') as caught,
      remote._as_os_error(path),
    ):
      raise OSError(f'lost {name}')
    assert not isinstance(caught.value, PermissionError)


@pytest.mark.parametrize(
  'path, said',
  [
    ('gcs://bucket/x', 'gcs:// is not supported'),
    ('hdfs://host/x', 'hdfs:// is not supported'),
    ('az://bucket/x', 'az:// is not supported'),
    ('gs://', 'names no bucket'),
  ],
)
def test_other_stores_are_refused(path, said):
  with pytest.raises(errors.UserError, match=said):
    files.path(path)
