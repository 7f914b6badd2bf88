"""Data sets of object stores: the examples are those of the same on a disk."""

import itertools
import json
import shutil

import numpy as np
import pytest
from array_record.python import array_record_module

from tests.data import small_data_sets
from tests.remote.local import upload
from tests.security import samples
from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import image_files, pipeline, sources
from vit_jax.data.sources import (
  array_record,
  checks,
  listing,
  tfds_builders,
  tfrecord,
)
from vit_jax.files import copies, folders


@pytest.fixture
def data():
  data = schema.default().data
  data.resolution, data.num_threads = (6, 8), 4
  return data


@pytest.fixture(autouse=True)
def _little_ahead(monkeypatch):
  monkeypatch.setattr(pipeline, 'PIECE', 2)  # Rows that a thread makes.


@pytest.fixture
def photos(tmp_path):
  """A folder of classes, with names that stores and URLs might change."""
  folder = tmp_path / 'photos'
  for split, count in {'train': 5, 'validation': 2}.items():
    for label in 'cat', 'a b#1?', 'grün%20+x':
      for number in range(count):
        path = folder / split / label / f'{number} ü#.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_data_sets.picture(str(path.relative_to(folder))))
  (folder / 'train/cat/note.txt').write_text('of no use')
  (folder / 'train/cat/.hidden.png').write_bytes(b'')
  return folder


def batches(data, source, count=3):
  """Returns training batches, and those of an evaluation."""
  train = pipeline.train_batches(source, data, batch_size=4, seed=3)
  drawn = list(itertools.islice(train, count))
  train.close()
  return [*drawn, *pipeline.eval_batches(source, data, batch_size=4)]


def assert_same(data, one, two, split='train'):
  """Compares two data sets: all that a source tells, and batches."""
  built = []
  for dataset in one, two:
    data.dataset = str(dataset)
    built.append(sources.build(data, split))
  here, there = built
  assert len(here) == len(there) and here.class_names == there.class_names
  assert sources.fingerprint(here) == sources.fingerprint(there)
  assert [here.key(i) for i in range(len(here))] == [
    there.key(i) for i in range(len(here))
  ]
  for mine, other in zip(batches(data, here), batches(data, there)):
    for key in mine:
      np.testing.assert_array_equal(mine[key], other[key])
  return here, there


def test_a_folder_of_classes_gives_the_same_batches(data, photos, folder):
  data.source = 'folder'
  here, there = assert_same(data, photos, upload(photos, folder))
  kinds = [
    sorted((k, n) for (_, k), n in s.left_out.items()) for s in (here, there)
  ]
  assert kinds == [[('.txt', 1)]] * 2
  assert there.where(0) == f'{folder}/{there.key(0)}'
  assert_same(data, photos, str(folder), 'train[:50%]')
  assert_same(data, photos, str(folder), 'validation')


def test_a_folder_without_splits_holds_out_the_same(data, photos, folder):
  data.source = 'folder'
  upload(photos / 'train', folder)
  assert_same(data, photos / 'train', str(folder), 'validation')


def test_lists_and_class_lists_are_read(data, photos, folder):
  data.source = 'folder'
  (photos / 'classes.txt').write_text('cat\na b#1?\ngrün%20+x\n')
  rows = [
    (path.relative_to(photos).as_posix(), path.parent.name)
    for path in sorted((photos / 'train').rglob('*.png'))
    if not path.name.startswith('.')
  ]
  text = '\n'.join(f'"{image}","{label}"' for image, label in rows)
  (photos / 'listed.csv').write_text(f'image,label\n{text}\n')
  lines = [json.dumps({'image': i, 'label': l}) for i, l in rows[::2]]
  (photos / 'lines.jsonl').write_text('\n'.join(lines))
  upload(photos, folder)
  for split in 'listed', 'lines':
    assert_same(data, photos, str(folder), split)
  (folder / 'train/cat/0 ü#.png').unlink()
  with pytest.raises(errors.UserError, match=r'line \d+: there is no file'):
    sources.build(data, 'listed')


def test_classes_do_not_depend_on_whether_a_store_answers(
  data, photos, folder, monkeypatch
):
  data.source, data.dataset = 'folder', upload(photos, folder)
  (folder / 'test.csv').write_bytes(b'image,label\nx,zebra\ny,cat\n')
  assert sources.build(data, 'train').num_classes == 4
  read = type(folder).read_bytes

  def refuse(self, *span):
    if self.name == 'test.csv':
      raise OSError(5, 'out of order', str(self))
    return read(self, *span)

  monkeypatch.setattr(type(folder), 'read_bytes', refuse)
  with pytest.raises(errors.UserError, match=r'test.csv can not .* order'):
    sources.build(data, 'train')


def test_a_mixture_is_of_several_stores(data, photos, folder):
  data.source = 'folder'
  upload(photos, folder)
  local = f'{photos}@2+{photos}@1'
  assert_same(data, local, f'{folder}@2+{folder}@1')
  assert_same(data, local, f'{photos}@2+{folder}@1')
  assert_same(data, local, f'{folder}@2+{photos}@1')
  upload(photos / 'train', folder / 'a+b@2')
  upload(photos / 'train', folder / 'c+d')
  for name, count in {'a+b@2': 1, f'c+d@1+{photos}@1': 2}.items():
    data.dataset = f'{folder}/{name}'
    source = sources.build(data, 'train')
    assert len(getattr(source, 'parts', (source,))) == count


def test_a_folder_is_listed_once(data, photos, folder, store):
  data.source, data.dataset = 'folder', upload(photos, folder)
  with store.failing():
    sources.build(data, 'train')
    # Root, two splits, six classes; and whether the root is there.
    assert store.counts()['all'] <= 16


def test_threads_read_images_at_the_same_time(data, photos, folder, store):
  data.source, data.dataset = 'folder', upload(photos, folder)
  data.num_threads = 8
  source = sources.build(data, 'train')
  with store.failing(seconds=0.2):
    train = pipeline.train_batches(source, data, batch_size=32, seed=0)
    next(train)
    assert store.counts()['at_once'] > 1
    train.close()


def test_an_image_is_one_request(data, photos, folder, store):
  data.source, data.dataset = 'folder', upload(photos, folder)
  source = sources.build(data, 'train')
  source[0]
  with store.failing():
    source[0], source[1]
    assert store.counts()['all'] == 2


def test_the_headers_of_few_images_are_looked_at(
  data, photos, folder, store, monkeypatch
):
  data.source, data.dataset = 'folder', upload(photos, folder)
  monkeypatch.setattr(checks, 'MAX_REMOTE', 5)
  source = sources.build(data, 'train')
  with store.failing(seconds=0.1):
    assert checks.unreadable(source) == ([], 5)
    assert store.counts()['at_once'] > 1
  broken = folder / source.key(0)
  broken.write_bytes(b'no image')
  problems, _ = checks.unreadable(source)
  assert [index for index, _ in problems] == [0]


def test_an_image_that_is_too_large_is_not_read(
  data, photos, folder, monkeypatch
):
  data.source, data.dataset = 'folder', upload(photos, folder)
  source = sources.build(data, 'train')
  monkeypatch.setattr(image_files, 'MAX_BYTES', 10)
  with pytest.raises(OSError, match='over 10 bytes'):
    source[0]
  (folder / source.key(0)).write_bytes(b'')
  assert source[0]['image'] == b''


def test_files_of_a_first_step_are_compared(data, photos, folder, tmp_path):
  data.source, data.dataset = 'folder', upload(photos, folder)
  listing.save(tmp_path / 'l.npz', {'train': sources.build(data, 'train')})
  stored = listing.load(tmp_path / 'l.npz')
  path = folder / sources.build(data, 'train').key(3)
  kept = path.read_bytes()
  path.write_bytes(b'another')
  now = sources.build(data, 'train')
  with pytest.raises(errors.UserError, match=r'has 7 bytes and had \d+'):
    listing.restore(now, stored, 'train', set(), 0.0)
  path.unlink()
  now = sources.build(data, 'train')
  bad = {path.relative_to(folder)}
  restored = listing.restore(now, stored, 'train', bad, 0.0)
  assert restored.excused == {3} and len(restored) == len(now) + 1
  path.write_bytes(kept)


@pytest.mark.parametrize(
  'faults',
  [
    {'failing': 0.2, 'status': 503},
    {'failing': 0.2, 'status': 429},
    {'lost': 0.1},
  ],
  ids=['503', '429', 'lost'],
)
@pytest.mark.remote
def test_a_store_in_trouble_gives_the_same_batches(
  data, photos, folder, store, faults
):
  data.source = 'folder'
  upload(photos, folder)
  with store.failing(**faults):
    assert_same(data, photos, str(folder))


def test_a_store_in_trouble_loses_no_image(data, photos, folder, store):
  data.source = 'folder'
  data.dataset = upload(photos, folder)
  source = sources.build(data, 'validation')
  data.dataset = str(photos)
  wanted = sources.build(data, 'validation')
  with store.failing(failing=0.1, lost=0.1):
    assert [source[i] for i in range(6)] == [wanted[i] for i in range(6)]


def test_a_store_that_refuses_is_not_taken_for_bad_images(
  data, photos, folder, store
):
  data.source, data.dataset = 'folder', upload(photos, folder)
  data.max_bad_fraction = 1.0
  source = sources.build(data, 'train')
  with store.failing(failing=1.0, status=403):
    with pytest.raises(
      errors.UserError, match=r'can not be read: .*(?i:forbid|denied)'
    ) as caught:
      batches(data, source)
    assert 'examples are bad' not in str(caught.value)
    with pytest.raises(errors.UserError, match='can not be read'):
      sources.build(data, 'train')


@pytest.mark.parametrize('source', ['folder', 'arrays', 'tfds'])
def test_a_missing_bucket_is_a_mistake(data, store, source):
  data.source, data.dataset = source, f'{store.kind}://nobodys/set'
  if source == 'tfds':
    data.dataset, data.data_dir = 'strange', f'{store.kind}://nobodys/set'
  with pytest.raises(errors.UserError) as caught:
    sources.build(data, 'train')
  assert len(str(caught.value).splitlines()) == 1


def test_arrays_are_copied_once(data, folder, tmp_path, store, cache, capsys):
  rng = np.random.default_rng(0)
  arrays = {
    'train_image': rng.integers(0, 256, (7, 6, 8, 3), np.uint8),
    'train_label': rng.integers(0, 3, 7),
  }
  np.savez(tmp_path / 'a.npz', **arrays)
  data.source = 'arrays'
  upload(tmp_path / 'a.npz', folder / 'a.npz')
  assert_same(data, tmp_path / 'a.npz', folder / 'a.npz')
  assert capsys.readouterr().err.count('is copied to') == 1
  with store.failing():
    sources.build(data, 'train')
    asked = store.counts()['all']
  arrays['train_label'] = 2 - arrays['train_label']
  np.savez(tmp_path / 'a.npz', **arrays)
  upload(tmp_path / 'a.npz', folder / 'a.npz')
  assert_same(data, tmp_path / 'a.npz', folder / 'a.npz')
  assert asked <= 3  # Whether it is still the same.
  for path in cache.rglob('*'):
    assert not path.name.endswith('.part')


def test_a_copy_that_was_cut_short_is_gone_on_with(
  folder, tmp_path, store, monkeypatch
):
  content = bytes(range(256)) * 40
  path = folder / 'x.bin'
  path.write_bytes(content)
  monkeypatch.setattr(copies, '_CHUNK', 1000)
  read, calls = type(path).read_bytes, []

  def fails_once(self, start=None, end=None):
    calls.append(start)
    if len(calls) == 5:
      raise PermissionError(13, 'no more')
    return read(self, start, end)

  monkeypatch.setattr(type(path), 'read_bytes', fails_once)
  with pytest.raises(OSError, match='no more'):
    copies.local(path)
  assert copies.local(path).read_bytes() == content
  assert calls[5] == 4000  # Where the first attempt has ended.


def test_no_room_for_a_copy_is_told_before(folder, monkeypatch):
  (folder / 'x.bin').write_bytes(b'x' * 1000)
  usage = type('Usage', (), {'free': 999})
  monkeypatch.setattr(copies.shutil, 'disk_usage', lambda _: usage)
  with pytest.raises(errors.UserError, match=r'1\.0 kB, .* room for 999 bytes'):
    copies.local(folder / 'x.bin')


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
  """{format: folder of a data set of TFDS}."""
  folder = tmp_path_factory.mktemp('digits')
  tfds_builders.prepare(tfds_builders.builder('digits', str(folder / 'a')))
  version = folder / 'a/digits/1.0.0'
  (path,) = version.glob('*-test*')
  reader = array_record_module.ArrayRecordReader(str(path))
  shutil.copytree(folder / 'a', folder / 't')
  for path in (folder / 't').rglob('*array_record*'):
    path.unlink()
  version = folder / 't/digits/1.0.0'
  info = version / 'dataset_info.json'
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  records = samples.records(reader.read_all())
  (version / 'digits-test.tfrecord-00000-of-00001').write_bytes(records)
  return {'array_record': folder / 'a', 'tfrecord': folder / 't'}


@pytest.mark.parametrize('name', ['array_record', 'tfrecord'])
def test_a_data_set_of_tfds_gives_the_same_batches(
  data, folder, digits, name, cache, store
):
  data.dataset = 'digits'
  upload(digits[name], folder)
  here = sources.build(_at(data, digits[name]), 'test[10:50]')
  there = sources.build(_at(data, folder), 'test[10:50]')
  assert sources.fingerprint(here) == sources.fingerprint(there)
  assert here.class_names == there.class_names
  for mine, other in zip(batches(data, here), batches(data, there)):
    for key in mine:
      np.testing.assert_array_equal(mine[key], other[key])
  is_copied = name == 'array_record' and store.kind == 's3'
  assert cache.exists() == is_copied


def _at(data, data_dir):
  data.data_dir = str(data_dir)
  return data


def test_metadata_are_asked_for_in_few_requests(data, folder, digits, store):
  data.dataset = 'digits'
  upload(digits['array_record'], folder)
  for number in range(50):  # As many files as large data sets have.
    (folder / f'digits/1.0.0/digits-x.array_record-{number:05}').touch()
  with store.failing():
    sources.build(_at(data, folder), 'test')
    assert store.counts()['all'] < 50


def test_a_record_is_one_request(data, folder, digits, store):
  data.dataset = 'digits'
  upload(digits['tfrecord'], folder)
  source = sources.build(_at(data, folder), 'test')
  assert (folder / 'digits/1.0.0/.vit_jax').is_dir()  # Of the index.
  with store.failing(seconds=0.1):
    assert len(source.records[len(source) - 1]) > 100
    source.records[0]
    assert store.counts()['all'] == 2
  data.num_threads = 8
  with store.failing(seconds=0.2):
    next(pipeline.train_batches(source, data, batch_size=32, seed=0))
    assert store.counts()['at_once'] > 1


def test_an_index_of_records_is_read_in_pieces(
  data, folder, digits, monkeypatch
):
  data.dataset = 'digits'
  upload(digits['tfrecord'], folder)
  wanted = sources.build(_at(data, digits['tfrecord']), 'test').records
  monkeypatch.setattr(tfrecord, '_BLOCK', 1000)
  found = sources.build(_at(data, folder), 'test').records
  for one, two in zip(wanted.offsets.values(), found.offsets.values()):
    np.testing.assert_array_equal(one, two)


def test_a_record_that_is_too_large_is_not_read(
  data, folder, digits, store, monkeypatch
):
  data.dataset = 'digits'
  upload(digits['tfrecord'], folder)
  source = sources.build(_at(data, folder), 'test')
  monkeypatch.setattr(tfrecord, 'MAX_RECORD', 50)
  with store.failing():
    with pytest.raises(errors.UserError, match=r'bytes; no more than 50'):
      source.records[0]
    assert not store.counts()


@pytest.mark.remote
@pytest.mark.parametrize('name', ['array_record', 'tfrecord'])
@pytest.mark.parametrize(
  'faults',
  [{'failing': 0.2, 'status': 503}, {'lost': 0.1}],
  ids=['503', 'lost'],
)
def test_records_of_a_store_in_trouble_are_the_same(
  data, folder, digits, store, name, faults
):
  data.dataset = 'digits'
  upload(digits[name], folder)
  wanted = sources.build(_at(data, digits[name]), 'test[:6]')
  with store.failing(**faults):
    found = sources.build(_at(data, folder), 'test[:6]')
    assert [found[i] for i in range(6)] == [wanted[i] for i in range(6)]


@pytest.mark.parametrize('name', ['array_record', 'tfrecord'])
def test_a_file_that_is_gone_is_named(data, folder, digits, name):
  data.dataset = 'digits'
  upload(digits[name], folder)
  (path,) = [p for p in folders.walk(folder) if f'test.{name}' in p.name]
  path.unlink()
  with pytest.raises(errors.UserError, match=rf'{path} of the data .* missing'):
    sources.build(_at(data, folder), 'test')


@pytest.mark.remote
def test_without_credentials_array_records_are_copied(
  data, folder, digits, store, cache, monkeypatch
):
  monkeypatch.undo()  # What other processes would not know.
  for variable, value in store.environment.items():
    monkeypatch.setenv(variable, value)
  monkeypatch.setenv('XDG_CACHE_HOME', str(cache.parents[1]))
  monkeypatch.setattr(array_record, '_has_credentials', lambda: False)
  data.dataset = 'digits'
  upload(digits['array_record'], folder)
  wanted = sources.build(_at(data, digits['array_record']), 'test')
  found = sources.build(_at(data, folder), 'test')
  data.num_workers = 1  # Sources go to other processes.
  train = pipeline.train_batches(found, data, batch_size=4, seed=3)
  data.num_workers = 0
  mine = pipeline.train_batches(wanted, data, batch_size=4, seed=3)
  np.testing.assert_array_equal(next(train)['image'], next(mine)['image'])
  train.close(), mine.close()


def test_data_sets_are_prepared_on_disks(data, folder):
  data.dataset = 'digits'
  with pytest.raises(errors.UserError, match='are prepared on a disk'):
    sources.build(_at(data, folder), 'train')
