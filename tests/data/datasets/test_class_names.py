"""Names are in the order of the heads."""

import pathlib

import pytest
import tensorflow_datasets as tfds

from vit_jax import errors
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


def test_every_synset_has_words():
  for count in 1000, 21_843:
    synsets = class_names.imagenet(count)
    words = class_names.readable(synsets)
    assert len(words) == count and all(words)
    assert not set(words) & set(synsets)
  first = class_names.readable(class_names.imagenet(1000))[0]
  assert first == 'tench, Tinca tinca'
  assert class_names.readable(class_names.imagenet(21_843))[359] == first


def test_other_classes_are_called_as_they_are():
  assert class_names.imagenet(2) is None
  assert class_names.readable(('cat', 'n00000000')) == ('cat', 'n00000000')


def test_imagenet_is_recognised_by_its_words():
  synsets = class_names.imagenet(1000)
  words = class_names.readable(synsets)
  assert class_names.recognised(words) == synsets
  assert class_names.recognised(words[::-1]) == words[::-1]
  assert class_names.recognised(('cat', 'dog')) == ('cat', 'dog')


@pytest.mark.parametrize(
  ('names', 'others', 'wanted'),
  [
    (('cat', 'dog', 'cow'), ('cow', 'cat'), (2, 0)),
    (('red_car', 'Blau'), ('blau ', 'Red  car'), (1, 0)),
    (('tu\u0308r', 'b'), ('t\u00fcr',), (0,)),  # NFD and NFC.
    (('n01443537', 'n01440764'), ('tench', 'goldfish'), (1, 0)),
    (('goldfish, Carassius auratus', 'x'), ('n01443537', 'X'), (0, 1)),
  ],
)
def test_classes_are_matched_by_name(names, others, wanted):
  assert class_names.match(names, others) == wanted


def test_imagenet_matches_itself_in_any_form():
  synsets = class_names.imagenet(1000)
  words = class_names.readable(synsets)
  assert class_names.match(synsets, synsets[::-1]) == tuple(range(1000))[::-1]
  cranes = [i for i, word in enumerate(words) if word == 'crane']
  assert len(cranes) == 2
  others = [word for word in words if word != 'crane']
  matched = class_names.match(synsets, others)
  assert [words[i] for i in matched] == others
  with pytest.raises(errors.UserError, match="none of the model's: 'crane'"):
    class_names.match(synsets, ['crane'])  # The bird, or the machine?


def test_the_difference_is_shown():
  with pytest.raises(errors.UserError) as caught:
    class_names.match(('cat', 'dog', 'cow'), ('dog', 'horse'))
  assert "none of the model's: 'horse'" in str(caught.value)
  assert "the data lack: 'cat', 'cow'" in str(caught.value)
  with pytest.raises(errors.UserError, match="one of them is 'Dog'"):
    class_names.match(('cat', 'dog'), ('dog', 'Dog'))
