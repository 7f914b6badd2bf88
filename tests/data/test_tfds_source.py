import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import datasets

from vit_jax import errors, experiment
from vit_jax.data import decoding, pipeline, sources, tfds_source


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  tfds.disable_progress_bar()
  return str(tmp_path_factory.mktemp('tfds'))


@pytest.fixture
def data(data_dir):
  data = experiment.default().data
  data.dataset, data.data_dir, data.resolution = 'digits', data_dir, (8,)
  data.train_crop = data.eval_crop = 'squash'
  data.flip = False
  return data


def test_digits_are_those_of_scikit_learn_in_their_order(data):
  digits = datasets.load_digits()
  train, test = sources.build(data, 'train'), sources.build(data, 'test')
  assert (len(train), len(test)) == (1437, 360)
  for source, start in (train, 0), (test, 1437):
    examples = [source[i] for i in range(0, len(source), 40)]
    images = np.stack([decoding.decode(each['image']) for each in examples])
    assert images.shape[1:] == (8, 8, 3)
    rows = slice(start, start + len(source), 40)
    for channel in range(3):
      np.testing.assert_allclose(
        images[..., channel] / 255 * 16, digits.images[rows], atol=0.04
      )
    labels = [each['label'] for each in examples]
    np.testing.assert_array_equal(labels, digits.target[rows])


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
  monkeypatch.setitem(sys.modules, 'sklearn', None)
  with pytest.raises(errors.UserError, match=r'(?s)sklearn.*not installed'):
    sources.build(data, 'train')


def test_another_file_format_on_disk_is_not_read(data, tmp_path):
  sources.build(data, 'train')
  shutil.copytree(data.data_dir, tmp_path, dirs_exist_ok=True)
  info = tmp_path / 'digits/1.0.0/dataset_info.json'
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  data.data_dir = str(tmp_path)
  with pytest.raises(errors.UserError, match=r'as tfrecord, .*another data'):
    sources.build(data, 'train')


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
from vit_jax import experiment
from vit_jax.data import pipeline, sources
data = experiment.default().data
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
