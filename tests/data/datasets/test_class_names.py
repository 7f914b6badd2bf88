"""Names are in the order of the heads."""

import pathlib

import tensorflow_datasets as tfds

from vit_jax.data.datasets import class_names

FOLDER = pathlib.Path(class_names.__file__).parent / 'names'


def synsets(name):
  lines = (FOLDER / f'{name}.txt').read_text().splitlines()
  return [line.split(' ')[0] for line in lines]


def test_imagenet_has_the_order_of_tensorflow_datasets():
  labels = pathlib.Path(tfds.__file__).parent / (
    'datasets/imagenet2012/labels.txt'
  )
  assert synsets('imagenet2012') == labels.read_text().split()


def test_the_larger_imagenet_has_google_s_order():
  ids = synsets('imagenet21k')
  assert len(ids) == len(set(ids)) == 21_843
  assert ids == sorted(ids)
  # Two that the release of fall 2011 lacks, and the first fish.
  assert ids.index('n03931044') == 9205
  assert ids.index('n09859684') == 15_027
  assert ids.index('n01440764') == 359
  missing = set(synsets('imagenet2012')) - set(ids)
  assert missing == {'n04399382'}  # The teddy.


def test_every_class_has_a_name():
  assert class_names.get(1000)[0] == 'tench, Tinca tinca'
  assert class_names.get(1000)[-1].startswith('toilet tissue')
  assert class_names.get(21_843)[359] == 'tench, Tinca tinca'
  for count in 1000, 21_843:
    assert len(class_names.get(count)) == count
    assert all(class_names.get(count))


def test_other_classes_are_numbered():
  assert class_names.get(2) == ('class 0', 'class 1')
  assert not class_names.are_known(2)
