import numpy as np
import pytest

from vit_jax.config import schema
from vit_jax.data import sources
from vit_jax.data.sources import arrays, subset


@pytest.fixture
def source():
  images = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones(
    (1, 4, 4), np.uint8
  )
  return arrays.ArraySource(images, np.arange(10) % 3, name='those')


def test_a_subset_has_the_examples_chosen_in_that_order(source):
  few = subset.Subset(source, np.array([7, 2]))
  assert len(few) == 2
  assert few[0]['image'][0, 0] == 7 and few[1]['label'] == 2
  assert few.where(0) == 'row 7 of those'
  assert (few.num_classes, few.class_names) == (3, None)


def test_other_choices_have_other_fingerprints(source):
  prints = {
    sources.fingerprint(subset.Subset(source, np.array(indices)))
    for indices in ([7, 2], [2, 7], [7, 3])
  }
  assert len(prints) == 3


def test_labels_are_those_that_reading_gives(source):
  data = schema.default().data
  data.source, data.num_classes, data.num_examples = 'synthetic', 4, 50
  data.resolution = (4,)
  made = sources.build(data, 'train')  # Has no list of labels.
  for each in source, made:
    wanted = [each[i]['label'] for i in range(len(each))]
    np.testing.assert_array_equal(subset.labels(each), wanted)
