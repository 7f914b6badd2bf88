import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import sources


@pytest.fixture
def data():
  data = schema.default().data
  data.source, data.dataset = 'synthetic', 'synthetic'
  data.num_classes, data.num_examples, data.resolution = 5, 60, (16, 24)
  return data


def test_an_example_is_a_function_of_its_split_and_index(data):
  one, two = sources.build(data, 'train'), sources.build(data, 'train')
  np.testing.assert_array_equal(one[7]['image'], two[7]['image'])
  other = sources.build(data, 'validation')
  assert np.any(one[7]['image'] != other[7]['image'])
  assert np.any(one[7]['image'] != one[12]['image'])
  assert one[7]['label'] == one[12]['label'] == other[7]['label'] == 2


def test_images_have_the_size_and_number_asked_for(data, images_and_labels):
  images, labels = images_and_labels(sources.build(data, 'train'))
  assert images.shape == (60, 16, 24, 3) and images.dtype == np.uint8
  np.testing.assert_array_equal(np.bincount(labels), [12] * 5)


def test_the_mean_image_of_each_class_tells_the_classes_apart(
  data, images_and_labels
):
  images, labels = images_and_labels(sources.build(data, 'train'))
  means = np.stack([images[labels == label].mean(0) for label in range(5)])
  tests, wanted = images_and_labels(sources.build(data, 'validation'))
  distances = np.square(tests[:, None] - means[None]).sum((2, 3, 4))
  np.testing.assert_array_equal(distances.argmin(1), wanted)


def test_noise_does_not_wrap_around(data, images_and_labels):
  images, labels = images_and_labels(sources.build(data, 'train'))
  spread = np.ptp(images[labels == 0].astype(int), axis=0)
  assert spread.max() < 128


def test_the_number_of_classes_must_be_given(data):
  data.num_classes = None
  with pytest.raises(errors.UserError, match=r'needs data.num_classes'):
    sources.build(data, 'train')
