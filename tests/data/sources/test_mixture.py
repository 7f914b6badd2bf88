import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import pipeline, sources
from vit_jax.data.sources import arrays, mixture


def source(value, labels, names=None, num_classes=None):
  images = np.full((len(labels), 4, 4), value, np.uint8)
  return arrays.ArraySource(
    images, np.array(labels), names, num_classes, name=f'set {value}'
  )


@pytest.mark.parametrize(
  'text, parts',
  [
    ('cifar10', None),
    ('cifar10:3.*.*', None),
    ('~/a+b', None),
    ('a@1+b', None),
    (
      'cifar10:3.*.*@3+~/my set@0.5',
      [('cifar10:3.*.*', 3.0), ('~/my set', 0.5)],
    ),
    ('a@2', [('a', 2.0)]),
  ],
)
def test_a_mixture_is_names_with_weights(text, parts):
  assert mixture.parse(text) == parts


def test_a_folder_may_be_called_like_a_mixture(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  for name in 'shots@2', 'a+b', 'c@1+d@2':
    (tmp_path / name).mkdir()
  for name in 'shots@2', '~/shots@2', f'{tmp_path}/a+b', 'c@1+d@2':
    assert mixture.parse(name) is None
  assert mixture.parse('a+b@2+e@1') == [('a+b', 2.0), ('e', 1.0)]
  assert mixture.parse('~/a+b@2') == [('~/a+b', 2.0)]
  assert mixture.parse('shots@2@3+e@1') == [('shots@2', 3.0), ('e', 1.0)]
  assert mixture.parse('shots@3') == [('shots', 3.0)]
  assert mixture.parse('x+y@2') is None


def test_a_weight_of_zero_is_refused():
  with pytest.raises(errors.UserError, match=r'weight of b is 0; leave it out'):
    mixture.parse('a@1+b@0')


def test_classes_of_other_names_follow_each_other():
  mixed = mixture.join(
    [source(1, [0, 1, -1], ('x', 'y'), 3), source(2, [0, 1, -1], ('y', 'z'))],
    [1, 1],
  )
  assert mixed.num_classes == 5
  assert mixed.class_names == ('x', 'y', '2', 'y', 'z')
  assert [mixed[i]['label'] for i in range(6)] == [0, 1, -1, 3, 4, -1]
  assert [mixed[i]['image'][0, 0] for i in range(5)] == [1, 1, 1, 2, 2]
  assert (
    mixed.where(2) == 'row 2 of set 1' and mixed.where(3) == 'row 0 of set 2'
  )


def test_classes_of_the_same_names_are_the_same():
  names = ('x', 'y')
  mixed = mixture.join([source(1, [0], names), source(2, [1], names)], [1, 9])
  assert mixed.num_classes == 2 and mixed.class_names == names
  assert [mixed[i]['label'] for i in range(2)] == [0, 1]


def test_without_names_classes_are_told_apart():
  mixed = mixture.join([source(1, [0, 1]), source(2, [0, 1, 2])], [1, 1])
  assert mixed.num_classes == 5 and mixed.class_names is None
  assert mixed[4]['label'] == 4


@pytest.fixture
def data(tmp_path):
  data = schema.default().data
  data.source, data.resolution = 'arrays', (4,)
  for name, count in ('one', 8), ('two', 24):
    images = np.full((count, 4, 4), count, np.uint8)
    np.savez(
      tmp_path / f'{name}.npz', train_image=images, train_label=[0] * count
    )
  data.dataset = f'{tmp_path}/one.npz@1+{tmp_path}/two.npz@1'
  return data


def test_a_mixture_goes_from_the_configuration_to_the_batch(data):
  mixed = sources.build(data, 'train')
  assert sources.num_classes(data) == mixed.num_classes == 2
  batches = pipeline.train_batches(mixed, data, batch_size=16, seed=0)
  drawn = next(batches)
  batches.close()
  values = drawn['image'][:, 0, 0, 0]
  assert sorted(values.tolist()) == [8] * 8 + [24] * 8
  np.testing.assert_array_equal(drawn['label'], values == 24)


def test_evaluation_takes_each_example_of_each_part_once(data):
  mixed = sources.build(data, 'train')
  drawn = list(pipeline.eval_batches(mixed, data, batch_size=10))
  index = np.concatenate([part['index'] for part in drawn])
  np.testing.assert_array_equal(index[:32], np.arange(32))


def test_weights_are_part_of_the_fingerprint(data):
  one = sources.fingerprint(sources.build(data, 'train'))
  data.dataset = data.dataset.replace('two.npz@1', 'two.npz@2')
  assert sources.fingerprint(sources.build(data, 'train')) != one
