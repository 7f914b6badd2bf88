import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import sources


@pytest.fixture
def data(tmp_path):
  data = schema.default().data
  data.source, data.dataset = 'arrays', str(tmp_path / 'set.npz')
  images = np.zeros((3, 2, 2), np.uint8)
  np.savez(data.dataset, train_image=images, train_label=[0, 1, 2])
  return data


def test_an_unknown_source_names_the_nearest(data):
  data.source = 'array'
  with pytest.raises(errors.UserError, match=r'data.source=.* mean arrays\?'):
    sources.build(data, 'train')


def test_more_classes_than_the_data_set_has_may_be_asked_for(data):
  assert sources.build(data, 'train').num_classes == 3
  data.num_classes = 10
  assert sources.build(data, 'train').num_classes == 10


def test_fewer_classes_than_the_data_set_has_are_refused(data):
  data.num_classes = 2
  with pytest.raises(errors.UserError, match=r'num_classes=2 .* the 3 classes'):
    sources.build(data, 'train')


def test_the_number_of_classes_is_that_of_the_source(data):
  assert sources.num_classes(data) == 3
  data.num_classes = 10
  assert sources.num_classes(data) == 10


def test_a_fingerprint_tells_data_sets_apart(data, tmp_path):
  def fingerprint(split='train'):
    return sources.fingerprint(sources.build(data, split))

  first = fingerprint()
  assert len(first) == 16 and int(first, 16) >= 0
  assert fingerprint() == first
  images = np.zeros((3, 2, 2), np.uint8)
  images[2, 1, 1] = 1
  np.savez(data.dataset, train_image=images, train_label=[0, 1, 2])
  seen = {first, fingerprint()}
  np.savez(data.dataset, train_image=images, train_label=[1, 0, 2])
  seen |= {fingerprint(), fingerprint('train[:2]')}
  data.num_classes = 4
  seen.add(fingerprint())
  assert len(seen) == 5


def test_the_fingerprint_of_a_folder_knows_names_and_sizes(data, tmp_path):
  data.source, data.dataset = 'folder', str(tmp_path / 'set')
  for name in 'cat/1.jpg', 'dog/1.jpg':
    path = tmp_path / 'set/train' / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b'one')
  seen = [sources.fingerprint(sources.build(data, 'train'))]
  path.write_bytes(b'three')
  seen.append(sources.fingerprint(sources.build(data, 'train')))
  path.rename(path.with_name('2.jpg'))
  seen.append(sources.fingerprint(sources.build(data, 'train')))
  assert len(set(seen)) == 3
  (tmp_path / 'set').rename(tmp_path / 'moved')
  data.dataset = str(tmp_path / 'moved')
  assert sources.fingerprint(sources.build(data, 'train')) == seen[-1]


def test_the_fingerprint_of_arrays_stays_where_they_go(data, tmp_path):
  mixed = data.copy_and_resolve_references()
  seen = set()
  for place in 'set.npz', 'moved.npz':
    (tmp_path / 'set.npz').rename(tmp_path / place)
    data.dataset = str(tmp_path / place)
    mixed.dataset = f'{data.dataset}@1+{data.dataset}@2'
    seen.add(
      tuple(
        sources.fingerprint(sources.build(each, 'train[:2]'))
        for each in (data, mixed)
      )
    )
  assert len(seen) == 1


def test_the_fingerprint_of_made_up_images_knows_what_makes_them(data):
  data.source, data.num_classes = 'synthetic', 5
  one = sources.fingerprint(sources.build(data, 'train'))
  assert one != sources.fingerprint(sources.build(data, 'test'))
  data.resolution = (7,)
  assert one != sources.fingerprint(sources.build(data, 'train'))
