import numpy as np
import pytest
import tensorflow_datasets as tfds

from vit_jax import errors, experiment
from vit_jax.data import sources, vtab


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
  data = experiment.default().data
  data.dataset = f'vtab/{name}'
  assert sources.num_classes(data) == task.num_classes


@pytest.mark.parametrize('name', vtab.TASKS)
def test_splits_have_800_and_200_examples_apart_from_each_other(name):
  task = vtab.TASKS[name]
  assert task.split('train800') == 'train[:800]'
  assert task.split('train') == f'train[:800]+{task.split("val200")}'
  split, _, bounds = task.split('val200').rstrip(']').partition('[')
  start, _, stop = bounds.partition(':')
  assert int(stop) - int(start or 0) == 200
  assert split != 'train' or int(start) >= 800
  test_split, _, begin = task.split('test').partition('[')
  if test_split == split and begin:
    first = begin.removesuffix(':]')
    assert first.endswith('%') or int(first) >= int(stop)
  assert task.split('train90') is None


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


def test_an_unknown_task_names_the_nearest():
  data = experiment.default().data
  data.dataset = 'vtab/cifar10'
  with pytest.raises(errors.UserError, match=r'VTAB=.* mean cifar100'):
    sources.num_classes(data)
