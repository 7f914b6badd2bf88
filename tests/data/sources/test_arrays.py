import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import sources
from vit_jax.data.sources import arrays


@pytest.fixture
def data(tmp_path):
  data = schema.default().data
  data.source = 'arrays'
  data.dataset = str(tmp_path / 'set.npz')
  return data


def test_a_file_gives_the_images_and_labels_it_was_written_with(data):
  images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
  np.savez(
    data.dataset,
    train_image=images,
    train_label=[1, 0],
    test_image=images[:1, :, :, 0],
    test_label=np.array([6], np.uint8),
  )
  train, test = sources.build(data, 'train'), sources.build(data, 'test')
  assert len(train) == 2 and len(test) == 1
  np.testing.assert_array_equal(train[1]['image'], images[1])
  np.testing.assert_array_equal(test[0]['image'], images[0, :, :, 0])
  assert [train[0]['label'], train[1]['label'], test[0]['label']] == [1, 0, 6]


def test_all_splits_have_the_same_number_of_classes(data):
  image = np.zeros((1, 2, 2), np.uint8)
  np.savez(data.dataset, a_image=image, a_label=[1], b_image=image, b_label=[6])
  assert sources.build(data, 'a').num_classes == 7
  assert sources.build(data, 'b').num_classes == 7


def test_where_names_the_row_and_the_file(data):
  np.savez(data.dataset, t_image=np.zeros((3, 2, 2), np.uint8), t_label=[0] * 3)
  where = sources.build(data, 't').where(2)
  assert where == f'row 2 of t_image in {data.dataset}'


def test_python_objects_are_never_unpickled(data):
  images = np.array([object()])
  np.savez(data.dataset, train_image=images, train_label=[0])
  with pytest.raises(errors.UserError, match=r'train_image in .*allow_pickle'):
    sources.build(data, 'train')


def test_a_file_that_is_missing_or_something_else_is_named(data, tmp_path):
  with pytest.raises(errors.UserError, match=r'set.npz.* is not a file'):
    sources.build(data, 'train')
  (tmp_path / 'set.npz').write_bytes(b'no zip')
  with pytest.raises(errors.UserError, match=r'is not an .npz file'):
    sources.build(data, 'train')
  with open(data.dataset, 'wb') as file:
    np.save(file, np.zeros(3))
  with pytest.raises(errors.UserError, match=r'is a single array'):
    sources.build(data, 'train')


def test_missing_arrays_are_named(data):
  np.savez(data.dataset, train_image=np.zeros((1, 2, 2), np.uint8))
  with pytest.raises(errors.UserError, match=r'no split .trian.*mean train\?'):
    sources.build(data, 'trian')
  with pytest.raises(errors.UserError, match=r'no array train_label; it has'):
    sources.build(data, 'train')
  np.savez(data.dataset, images=np.zeros((1, 2, 2), np.uint8))
  with pytest.raises(errors.UserError, match=r'It has no splits'):
    sources.build(data, 'train')


@pytest.mark.parametrize(
  'images, labels, message',
  [
    (np.zeros((2, 4, 4)), [0, 1], r'images are float64 \[2, 4, 4\]'),
    (np.zeros((2, 4, 4, 4), np.uint8), [0, 1], r'images are uint8 .* 4\]'),
    (np.zeros((2, 4), np.uint8), [0, 1], r'images are uint8 \[2, 4\]'),
    (np.zeros((2, 4, 4), np.uint8), [0], r'labels are int64 \[1\]'),
    (np.zeros((2, 4, 4), np.uint8), [0.0, 1.0], 'labels are float64'),
    (np.zeros((2, 4, 4), np.uint8), [0, -2], 'a label is -2'),
    (np.zeros((0, 4, 4), np.uint8), np.zeros(0, int), 'there is no image'),
  ],
)
def test_arrays_of_another_kind_are_refused(images, labels, message):
  with pytest.raises(errors.UserError, match=message):
    arrays.ArraySource(images, np.asarray(labels))


def test_classes_come_from_the_names_else_from_the_labels():
  images, labels = np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 2])
  assert arrays.ArraySource(images, labels).num_classes == 3
  named = arrays.ArraySource(images, labels, ('a', 'b', 'c', 'd'))
  assert named.num_classes == 4 and named.class_names[3] == 'd'
  with pytest.raises(errors.UserError, match=r'class_names has only 2'):
    arrays.ArraySource(images, labels, ('a', 'b'))
  with pytest.raises(errors.UserError, match=r'fit num_classes=2'):
    arrays.ArraySource(images, labels, num_classes=2)


def test_slices_are_disjoint_and_keep_the_number_of_classes(data):
  images = (
    np.arange(40, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
  )
  np.savez(data.dataset, train_image=images, train_label=np.arange(40) // 10)
  first = sources.build(data, 'train[:30%]')
  second = sources.build(data, 'train[30%:]')
  values = [
    [int(source[i]['image'][0, 0]) for i in range(len(source))]
    for source in (first, second)
  ]
  assert len(values[0]) == 12
  assert sorted(values[0] + values[1]) == list(range(40))
  assert first.num_classes == second.num_classes == 4
  for index, value in enumerate(values[0]):
    assert first[index]['label'] == value // 10
    assert first.where(index).startswith(f'row {value} of train_image')


def test_splits_can_be_joined(data):
  images = np.zeros((3, 2, 2), np.uint8)
  np.savez(
    data.dataset,
    a_image=images,
    a_label=[0, 1, 2],
    b_image=images + 1,
    b_label=[3, 3, 4],
    c_image=images[:, :1],
    c_label=[0, 0, 0],
  )
  joined = sources.build(data, 'a+b')
  assert [joined[i]['label'] for i in range(6)] == [0, 1, 2, 3, 3, 4]
  assert joined[5]['image'][0, 0] == 1 and joined.num_classes == 5
  with pytest.raises(errors.UserError, match=r'shapes .* can not be joined'):
    sources.build(data, 'a+c')
