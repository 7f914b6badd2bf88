import pytest
import tensorflow_datasets as tfds

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import datasets

IN_TFDS = [
  name for name, row in datasets.DATASETS.items() if row.source == 'tfds'
]


@pytest.mark.parametrize('name', IN_TFDS)
def test_the_catalogue_has_the_data_set_with_as_many_classes(name):
  row = datasets.get(name)
  features = tfds.builder(row.dataset).info.features
  label = features['label' if 'label' in features else 'original_label']
  assert label.num_classes == row.num_classes


def test_held_out_parts_are_those_of_the_paper():
  assert datasets.get('cifar10').choosing() == ('train[:98%]', 'train[98%:]')
  for name, percent in (
    ('imagenet2012', 1),
    ('cifar100', 2),
    ('oxford_iiit_pet', 10),
    ('oxford_flowers102', 10),
  ):
    assert datasets.get(name).held_out == percent
  with pytest.raises(errors.UserError, match=r'has no split for choosing'):
    datasets.get('imagenet_v2').choosing()


def test_a_sum_of_splits_is_sliced_part_by_part():
  assert datasets.get('oxford_flowers102').choosing() == (
    'train[:90%]+validation[:90%]',
    'train[90%:]+validation[90%:]',
  )


@pytest.mark.parametrize(
  'dataset, percent, wanted',
  [
    ('cifar10', None, ('train[:98%]', 'train[98%:]')),
    ('cifar10', 30, ('train[:70%]', 'train[70%:]')),
    ('digits', None, ('train[:90%]', 'train[90%:]')),
    ('/data/flowers', None, ('train[:90%]', 'train[90%:]')),
    ('vtab/dtd', None, ('train800', 'val200')),
    ('vtab_full/dtd', None, ('train_part', 'val')),
  ],
)
def test_choosing_is_on_a_part_of_the_training_split(dataset, percent, wanted):
  data = schema.default().data
  data.dataset, data.train_split, data.eval_split = dataset, 'train', 'test'
  assert datasets.choosing(data, percent) == wanted


def test_a_slice_is_not_sliced_again():
  data = schema.default().data
  data.train_split = 'train[:99%]'
  with pytest.raises(
    errors.UserError, match=r'is a slice.*train_split=train\.'
  ):
    datasets.choosing(data)


def test_an_unknown_data_set_names_the_nearest():
  with pytest.raises(errors.UserError, match=r"'cifar11'.* mean cifar10"):
    datasets.get('cifar11')
