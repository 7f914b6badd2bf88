import numpy as np
import pytest

from vit_jax import errors, experiment
from vit_jax.data import sources


@pytest.fixture
def data(tmp_path):
  data = experiment.default().data
  data.source, data.dataset = 'arrays', str(tmp_path / 'set.npz')
  images = np.zeros((3, 2, 2), np.uint8)
  np.savez(data.dataset, train_image=images, train_label=[0, 1, 2])
  return data


def test_every_choice_of_the_configuration_has_a_source():
  assert set(sources.SOURCES) == set(experiment.CHOICES['data.source'])


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
