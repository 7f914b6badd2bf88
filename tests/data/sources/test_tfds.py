import io
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn import datasets

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import bad_examples, pipeline, sources
from vit_jax.data.datasets import digits, vtab
from vit_jax.data.sources import tfds as tfds_source
from vit_jax.data.sources import tfrecord
from vit_jax.data.transforms import decoding


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  tfds.disable_progress_bar()
  return str(tmp_path_factory.mktemp('tfds'))


@pytest.fixture
def data(data_dir):
  data = schema.default().data
  data.dataset, data.data_dir, data.resolution = 'digits', data_dir, (8,)
  data.train_crop = data.eval_crop = 'stretch'
  data.flip = False
  return data


def test_digits_are_those_of_scikit_learn_in_their_order(data):
  theirs = datasets.load_digits()
  train, test = sources.build(data, 'train'), sources.build(data, 'test')
  assert (len(train), len(test)) == (1437, 360)
  for source, start in (train, 0), (test, 1437):
    examples = [source[i] for i in range(0, len(source), 40)]
    images = np.stack([decoding.decode(each['image']) for each in examples])
    assert images.shape[1:] == (8, 8, 3)
    rows = slice(start, start + len(source), 40)
    for channel in range(3):
      np.testing.assert_allclose(
        images[..., channel] / 255 * 16, theirs.images[rows], atol=0.04
      )
    labels = [each['label'] for each in examples]
    np.testing.assert_array_equal(labels, theirs.target[rows])


def test_classes_are_those_of_the_label_feature(data):
  source = sources.build(data, 'train')
  assert source.num_classes == 10
  assert source.class_names == tuple('0123456789')


def test_classes_are_known_before_anything_is_prepared(data, tmp_path):
  data.data_dir = str(tmp_path)
  assert sources.num_classes(data) == 10
  data.dataset = 'imagenet2012'
  assert sources.num_classes(data) == 1000
  assert not list(tmp_path.iterdir())
  data.num_classes = 1234
  assert sources.num_classes(data) == 1234


def test_digits_come_through_the_pipeline(data):
  source = sources.build(data, 'train')
  drawn = next(pipeline.train_batches(source, data, batch_size=16, seed=3))
  for image, label, index in zip(
    drawn['image'], drawn['label'], drawn['index']
  ):
    example = source[index]
    assert label == example['label']
    np.testing.assert_array_equal(image, decoding.decode(example['image']))


@pytest.mark.parametrize('convert', [False, True])
def test_worker_processes_read_records(data, tmp_path, convert):
  if convert:
    as_tfrecord(data, tmp_path)
  source = sources.build(data, 'test')
  wanted = next(pipeline.train_batches(source, data, batch_size=16, seed=3))
  data.num_workers = 1
  batches = pipeline.train_batches(source, data, batch_size=16, seed=3)
  drawn = next(batches)
  batches.close()
  for key in wanted:
    np.testing.assert_array_equal(drawn[key], wanted[key], err_msg=key)


def test_slices_and_sums_of_splits_are_what_they_say(data):
  whole, test = sources.build(data, 'train'), sources.build(data, 'test')
  part = sources.build(data, 'train[100:120]+test[:10]')
  assert len(part) == 30
  assert part[5] == whole[105] and part[25] == test[5]
  assert part.where(5) == whole.where(105)
  assert part.where(19) == whole.where(119)
  assert part.where(20) == test.where(0)
  assert 'digits-test' in test.where(5) and 'record 5 of' in test.where(5)
  assert len(sources.build(data, 'train[:99%]')) == round(0.99 * 1437)


def test_a_version_may_be_asked_for(data):
  data.dataset = 'digits:1.*.*'
  assert len(sources.build(data, 'test')) == 360
  data.dataset = 'digits:7.0.0'
  with pytest.raises(errors.UserError, match=r'version 7.0.0, only: 1.0.0'):
    sources.build(data, 'test')


def test_an_unknown_data_set_names_the_nearest(data):
  data.dataset = 'cifar11:3.*.*'
  with pytest.raises(errors.UserError, match=r'Did you mean .*cifar10 or'):
    sources.build(data, 'train')
  data.dataset = 'no name'
  with pytest.raises(errors.UserError, match=r'does not fit TFDS: Parsing'):
    sources.build(data, 'train')


def test_an_unknown_split_names_the_nearest(data):
  with pytest.raises(
    errors.UserError, match=r"'validation'. It can be: test, "
  ):
    sources.build(data, 'validation')
  with pytest.raises(errors.UserError, match=r"'tests'. Did you mean test\?"):
    sources.build(data, 'train[:5]+tests')


@pytest.mark.parametrize('split', ['train[:x]', 'train[', 'train[:0]'])
def test_a_slice_that_is_malformed_or_empty_says_how_to_write_one(data, split):
  with pytest.raises(errors.UserError, match=r'not of the form train'):
    sources.build(data, split)


def test_a_data_set_that_wants_manual_downloads_says_where_it_looked(
  data, tmp_path
):
  data.dataset, data.data_dir = 'imagenet2012:5.*.*', str(tmp_path)
  with pytest.raises(
    errors.UserError, match=r'(?s)imagenet2012.*copied'
  ) as info:
    sources.build(data, 'validation')
  assert str(tmp_path) in str(info.value)
  assert 'ILSVRC2012_img_train.tar' in str(info.value)


def test_a_data_set_that_wants_a_package_says_so(data, tmp_path, monkeypatch):
  data.data_dir = str(tmp_path)

  def load():
    raise ModuleNotFoundError("No module named 'pydub'")

  monkeypatch.setattr(digits, 'load', load)
  with pytest.raises(errors.UserError, match=r'(?s)pydub.*not installed'):
    sources.build(data, 'train')


def as_tfrecord(data, tmp_path):
  """Rewrites the data set as TFRecord files in another folder."""
  source = sources.build(data, 'train'), sources.build(data, 'test')
  shutil.copytree(data.data_dir, tmp_path, dirs_exist_ok=True)
  folder = tmp_path / 'digits/1.0.0'
  info = folder / 'dataset_info.json'
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  for split in source:
    (file,) = split.files
    path = folder / os.path.basename(file.filename)
    path.unlink()
    with open(str(path).replace('array_record', 'tfrecord'), 'wb') as written:
      for index in range(len(split)):
        record = split.records[index]
        length = struct.pack('<Q', len(record))
        written.write(length + struct.pack('<I', tfrecord.masked_crc(length)))
        written.write(record + struct.pack('<I', tfrecord.masked_crc(record)))
  data.data_dir = str(tmp_path)
  return source


def test_tfrecord_files_give_the_same_examples(data, tmp_path):
  train, test = as_tfrecord(data, tmp_path)
  for split, wanted in (
    ('train', train),
    ('test[10:30]', [test[index] for index in range(10, 30)]),
    ('train[90%:]+test[:1]', None),
  ):
    source = sources.build(data, split)
    if wanted is None:
      wanted = [train[i] for i in range(1437 - 144, 1437)] + [test[0]]
    assert len(source) == len(wanted)
    for index in range(0, len(source), 7):
      assert source[index] == wanted[index], (split, index)
  assert 'digits-test.tfrecord-00000' in source.where(len(source) - 1)
  assert sources.fingerprint(source)


def test_a_split_of_tfrecord_files_that_is_not_there_is_named(data, tmp_path):
  as_tfrecord(data, tmp_path)
  with pytest.raises(errors.UserError, match=r"'tests'. Did you mean test\?"):
    sources.build(data, 'tests')


def test_a_format_without_random_access_is_not_read(data, tmp_path):
  sources.build(data, 'train')
  shutil.copytree(data.data_dir, tmp_path, dirs_exist_ok=True)
  info = tmp_path / 'digits/1.0.0/dataset_info.json'
  info.write_text(info.read_text().replace('array_record', 'riegeli'))
  data.data_dir = str(tmp_path)
  with pytest.raises(errors.UserError, match=r'as riegeli, .*another data'):
    sources.build(data, 'train')


@pytest.fixture
def copied(data, tmp_path):
  """The data set in a folder of its own, and the path of its test file."""
  (file,) = sources.build(data, 'test').files
  shutil.copytree(data.data_dir, tmp_path, dirs_exist_ok=True)
  data.data_dir = str(tmp_path)
  return tmp_path / 'digits/1.0.0' / os.path.basename(file.filename)


def test_a_missing_array_record_file_is_named(data, copied):
  copied.unlink()
  with pytest.raises(
    bad_examples.BrokenShardError, match=r'digits-test\.array.* is missing'
  ):
    sources.build(data, 'test')


def test_an_array_record_file_that_is_cut_off_ends_the_run(data, copied):
  copied.write_bytes(copied.read_bytes()[: copied.stat().st_size // 2])
  data.max_bad_fraction = 1.0  # Which a whole file is not borne by.
  batches = pipeline.train_batches(
    sources.build(data, 'test'), data, batch_size=8, seed=0
  )
  with pytest.raises(
    bad_examples.BrokenShardError,
    match=r'(?s)record \d+ of .*digits-test.* copy .* again: .*at byte \d+',
  ):
    next(batches)


def test_the_fingerprint_knows_split_and_files(data, copied):
  names = ('test', 'train', 'test[:99%]')
  prints = {sources.fingerprint(sources.build(data, name)) for name in names}
  assert len(prints) == 3
  again = sources.build(data, 'test')
  assert sources.fingerprint(again) in prints
  with copied.open('ab') as file:
    file.write(b'more')
  assert sources.fingerprint(again) not in prints


def test_a_task_of_vtab_is_its_data_set_in_frozen_splits(data, monkeypatch):
  def label(example):
    return int(example['label']) // 5

  task = vtab.Task('digits', 2, 'train[1000:1200]', 'test', label, 'label')
  monkeypatch.setitem(vtab.TASKS, 'halves', task)
  whole = sources.build(data, 'train')
  data.dataset = 'vtab/halves'
  train = sources.build(data, 'train')
  assert train.num_classes == 2 and train.class_names is None
  splits = vtab.find(data.dataset).splits
  assert {name: len(sources.build(data, name)) for name in splits} == {
    'train800': 800,
    'val200': 200,
    'train': 1000,
    'test': 360,
  }
  for index, origin in (7, 7), (799, 799), (800, 1000), (999, 1199):
    example = whole[origin]
    assert train[index]['image'] == example['image']
    assert train[index]['label'] == example['label'] // 5
  with pytest.raises(
    errors.UserError, match=r"no split 'validation'; .*val200"
  ):
    sources.build(data, 'validation')


def test_a_task_of_vtab_in_full_has_all_its_examples(data, monkeypatch):
  def label(example):
    return int(example['label']) // 5

  full = 'train[:60%]', 'train[60%:80%]'
  task = vtab.Task(
    'digits', 2, '', 'train[80%:]', label, reads='label', full=full
  )
  monkeypatch.setitem(vtab.TASKS, 'halves', task)
  whole = sources.build(data, 'train')
  data.dataset = 'vtab_full/halves'
  sizes = {'train_part': 862, 'val': 288, 'train': 1150, 'test': 287}
  parts = {name: sources.build(data, name) for name in sizes}
  assert {name: len(part) for name, part in parts.items()} == sizes
  for name, index, origin in (
    ('train_part', 861, 861),
    ('val', 0, 862),
    ('train', 862, 862),
    ('train', 1149, 1149),
    ('test', 0, 1150),
  ):
    assert parts[name][index]['image'] == whole[origin]['image']
    assert parts[name][index]['label'] == whole[origin]['label'] // 5
  with pytest.raises(errors.UserError, match=r"no split 'val200'; .*mean val"):
    sources.build(data, 'val200')


def test_pixels_of_zero_and_one_become_black_and_white(data):
  source = sources.build(data, 'test')
  source.is_binary = True
  bits = np.eye(8, dtype=np.uint8)
  source.records = [
    source.features.serialize_example({'image': bits_file(bits), 'label': 3})
  ]
  image = source[0]['image']
  np.testing.assert_array_equal(image[..., 0], bits * 255)


def bits_file(bits):
  file = io.BytesIO()
  Image.fromarray(bits).convert('RGB').save(file, 'PNG')
  file.seek(0)
  return file


def test_a_data_set_known_only_by_its_files_is_read(data, tmp_path):
  wanted = sources.build(data, 'test')
  shutil.copytree(f'{data.data_dir}/digits', tmp_path / 'numerals')
  info = tmp_path / 'numerals/1.0.0/dataset_info.json'
  info.write_text(info.read_text().replace('"digits"', '"numerals"'))
  for path in info.parent.glob('digits-*'):
    path.rename(path.with_name(path.name.replace('digits', 'numerals')))
  data.dataset, data.data_dir = 'numerals', str(tmp_path)
  assert sources.build(data, 'test')[7] == wanted[7]


class _Builder:
  """As much of a builder as the choice of features looks at."""

  name = 'odd'

  def __init__(self, **features):
    self.info = self
    self.features = tfds.features.FeaturesDict(features)


IMAGE = tfds.features.Image(shape=(None, None, 3))
CLASS = tfds.features.ClassLabel(num_classes=3)
NUMBER = tfds.features.Scalar(np.int64)


def test_features_of_other_names_are_found_by_their_kind():
  builder = _Builder(
    id=NUMBER, mask=IMAGE, image=IMAGE, breed=CLASS, kind=CLASS
  )
  assert list(tfds_source._features(builder, None)) == ['image', 'breed']
  builder = _Builder(photo=IMAGE, other=CLASS, label=CLASS)
  assert list(tfds_source._features(builder, None)) == ['photo', 'label']


def test_a_number_is_a_label_once_the_classes_are_counted():
  builder = _Builder(image=IMAGE, label=NUMBER)
  assert list(tfds_source._features(builder, 5)) == ['image', 'label']
  with pytest.raises(
    errors.UserError, match=r'no class label .*: image, label'
  ):
    tfds_source._features(builder, None)
  with pytest.raises(errors.UserError, match=r'odd has no image'):
    tfds_source._features(_Builder(label=CLASS), None)


def test_neither_tensorflow_nor_parsed_flags_are_needed(data):
  sources.build(data, 'train')
  program = f"""
import sys
from vit_jax.config import schema
from vit_jax.data import pipeline, sources
data = schema.default().data
data.dataset, data.data_dir, data.resolution = 'digits', {data.data_dir!r}, (8,)
source = sources.build(data, 'train')
batches = pipeline.train_batches(source, data, batch_size=8, seed=0)
print(next(batches)['image'].shape, 'tensorflow' in sys.modules)
"""
  result = subprocess.run(
    [sys.executable, '-c', program],
    env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout == '(8, 8, 8, 3) False\n', result.stderr
