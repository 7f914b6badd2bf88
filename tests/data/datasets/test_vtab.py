import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import sources
from vit_jax.data.datasets import vtab


def test_there_are_19_tasks_in_three_groups():
  assert len(vtab.TASKS) == 19
  assert [len(group) for group in vtab.GROUPS.values()] == [7, 4, 8]
  assert sum(vtab.GROUPS.values(), ()) == tuple(vtab.TASKS)


@pytest.mark.parametrize('name', vtab.TASKS)
def test_the_catalogue_has_what_a_task_reads(name):
  task = vtab.TASKS[name]
  features = tfds.builder(task.builder).info.features
  assert isinstance(features['image'], tfds.features.Image)
  if task.label is None:
    assert features['label'].num_classes == task.num_classes
  else:
    assert task.reads in features
  data = schema.default().data
  data.dataset = f'vtab/{name}'
  assert sources.num_classes(data) == task.num_classes


@pytest.mark.parametrize('name', vtab.TASKS)
def test_splits_have_800_and_200_examples_apart_from_each_other(name):
  splits = vtab.find(f'vtab/{name}').splits
  assert splits['train800'] == 'train[:800]'
  assert splits['train'] == f'train[:800]+{splits["val200"]}'
  split, _, bounds = splits['val200'].rstrip(']').partition('[')
  start, _, stop = bounds.partition(':')
  assert int(stop) - int(start or 0) == 200
  assert split != 'train' or int(start) >= 800
  test_split, _, begin = splits['test'].partition('[')
  if test_split == split and begin:
    first = begin.removesuffix(':]')
    assert first.endswith('%') or int(first) >= int(stop)


def places(split):
  """Returns {(TFDS split, number)} of the examples of a slice or sum."""
  sizes = {'train': 4000, 'validation': 1000, 'test': 500}
  infos = {
    name: tfds.core.SplitInfo(name=name, shard_lengths=[size], num_bytes=0)
    for name, size in sizes.items()
  }
  parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
  found = [
    (part.splitname, number)
    for part in parts
    for number in range(part.from_ or 0, part.to or sizes[part.splitname])
  ]
  assert len(set(found)) == len(found)
  return set(found)


@pytest.mark.parametrize('name', vtab.TASKS)
def test_full_splits_have_all_examples_each_in_one_of_them(name):
  splits = vtab.find(f'vtab_full/{name}').splits
  train_part, val, train = (
    places(splits[split]) for split in ('train_part', 'val', 'train')
  )
  assert not train_part & val and train_part | val == train
  if len(train_part) >= len(val):
    assert {split for split, _ in train_part} == {'train'}
  task = vtab.TASKS[name]
  test = places(task.test) if not re.search(r'\d{5}', task.test) else set()
  assert not train & test
  if {split for split, _ in test} == {'train'}:
    assert len(train | test) == 4000


# Where TFDS has no validation set: the examples that it has to train on. Of
# them VTAB-1k takes the first 200 of the full validation set.
SIZES = {
  'caltech101': 3_060,
  'cifar100': 50_000,
  'pets': 3_680,
  'svhn': 73_257,
  'eurosat': 27_000,
  'resisc45': 31_500,
  'clevr_count': 70_000,
  'dsprites_location': 737_280,
}


@pytest.mark.parametrize('name', SIZES)
def test_val200_begins_where_the_full_validation_set_does(name):
  task = vtab.TASKS[name]
  learned, val = task.full
  (percent,) = re.findall(r'train\[:(\d+)%\]', learned)
  start = round(int(percent) * SIZES[name] / 100)
  assert task.val200 == f'train[{start}:{start + 200}]'
  assert val.startswith(f'train[{percent}%:')
  end = val.rstrip('%]').partition(':')[2]
  if end:  # The rest is the test set.
    assert task.test == f'train[{int(end) * SIZES[name] // 100}:]'
  else:
    assert not task.test.startswith('train')


def test_where_tfds_has_a_validation_set_it_is_that_of_vtab():
  for name, task in vtab.TASKS.items():
    if task.val200 == 'validation[:200]':
      assert task.full == ('train', 'validation'), name
  assert vtab.TASKS['smallnorb_azimuth'].full == ('train', 'test[:50%]')


def test_both_versions_share_labels_and_test_set():
  for name, task in vtab.TASKS.items():
    one, full = vtab.find(f'vtab/{name}'), vtab.find(f'vtab_full/{name}')
    assert one.task is full.task is task
    assert one.splits['test'] == full.splits['test']
    assert one.choosing == ('train800', 'val200')
    assert full.choosing == ('train_part', 'val')


def test_other_data_sets_are_none_of_vtab():
  for name in 'cifar10', 'vtab', 'sun397/tfds', '/vtab/dtd', 'vtab_fully/dtd':
    assert vtab.find(name) is None


def test_an_image_is_left_whole_where_places_count():
  whole = {name for name, task in vtab.TASKS.items() if not task.crop}
  assert whole == {
    'clevr_count',
    'clevr_distance',
    'dmlab',
    'kitti',
    'dsprites_location',
  }


def clevr(depths):
  coords = np.array([[0, 0, depth] for depth in depths])
  return {'objects': {'pixel_coords': coords}}


@pytest.mark.parametrize(
  'depths, count, distance',
  [
    ([5, 9, 9], 0, 0),
    ([8.1, 9, 9], 0, 1),
    ([12, 8.7, 9, 11], 1, 2),
    ([9.2] * 5, 2, 3),
    ([9.7] * 9, 6, 4),
    ([10.5] * 10, 7, 5),
  ],
)
def test_clevr_counts_objects_and_finds_the_closest(depths, count, distance):
  assert vtab.clevr_count(clevr(depths)) == count
  assert vtab.clevr_distance(clevr(depths)) == distance


@pytest.mark.parametrize(
  'kinds, depths, label',
  [
    ([0, 3], [5, 1], 0),
    ([1], [12], 1),
    ([2, 0], [50, 30], 2),
    ([4, 5], [3, 3], 3),
    ([], [], 3),
  ],
)
def test_kitti_finds_the_closest_vehicle(kinds, depths, label):
  location = np.array([[0, 0, depth] for depth in depths], np.float32)
  example = {'objects': {'type': np.array(kinds, int), 'location': location}}
  assert vtab.kitti_distance(example) == label


def test_steps_of_dsprites_are_taken_together():
  places = [vtab.dsprites_location({'label_x_position': i}) for i in range(32)]
  assert np.bincount(places).tolist() == [2] * 16
  turns = [
    vtab.dsprites_orientation({'label_orientation': i}) for i in range(40)
  ]
  assert np.bincount(turns).tolist() == [3, 2] * 8


def test_smallnorb_has_the_two_angles():
  example = {'label_azimuth': np.int64(17), 'label_elevation': np.int64(8)}
  assert vtab.smallnorb_azimuth(example) == 17
  assert vtab.smallnorb_elevation(example) == 8


@pytest.mark.parametrize('suite', vtab.VERSIONS)
def test_an_unknown_task_names_the_nearest(suite):
  data = schema.default().data
  data.dataset = f'{suite}/cifar10'
  with pytest.raises(errors.UserError, match=r'VTAB=.* mean cifar100'):
    sources.num_classes(data)
