import json

import pytest
from etils import epath

from vit_jax import errors
from vit_jax.data.sources import label_file


@pytest.fixture
def root(tmp_path):
  return epath.Path(tmp_path)


def write(root, name, *lines):
  (root / name).write_text('\n'.join(lines) + '\n')


def test_names_are_sorted_over_all_splits(root):
  write(root, 'train.csv', 'image,label', 'a.jpg,dog', '"b, c.jpg",cat')
  write(root, 'test.csv', 'label,image,more', 'ant,d.jpg,x')
  train = label_file.read(root, 'train', None)
  assert train.names == ['a.jpg', 'b, c.jpg']
  assert train.class_names == ('ant', 'cat', 'dog')
  assert train.labels == [2, 1] and train.num_classes == 3
  assert label_file.read(root, 'test', None).labels == [0]
  assert label_file.splits(root) == ['test', 'train']


def test_indices_stay_what_they_are_over_all_splits(root):
  lines = [{'image': 'a', 'label': 4}, {'image': 'b', 'label': None}]
  write(root, 'train.jsonl', *map(json.dumps, lines))
  write(root, 'test.csv', 'image,label', 'c,9', 'd,')
  train = label_file.read(root, 'train', None)
  assert train.labels == [4, -1]
  assert train.class_names is None and train.num_classes == 10
  assert label_file.read(root, 'test', None).labels == [9, -1]


def test_listed_classes_are_found_by_name_or_index(root):
  write(root, 'train.csv', 'image,label', 'a,dog', 'b,0')
  train = label_file.read(root, 'train', ('cat', 'dog', 'emu'))
  assert train.labels == [1, 0] and train.num_classes == 3


@pytest.mark.parametrize(
  'name, lines, message',
  [
    ('t.csv', ['image,label', 'a,dgo'], r"t.csv, line 2: .*'dgo'. Did .* dog"),
    ('t.csv', ['image,label', 'a,2'], r"line 2: there is no class '2'"),
    ('t.csv', ['image,label', ',dog'], r'line 2, names no image'),
    ('t.csv', ['image,label'], r't.csv lists no image'),
    ('t.csv', ['file,label', 'a,b'], r'columns file, label; it must'),
    ('t.csv', [], r'columns ; it must'),
    (
      't.jsonl',
      ['{"image": "a", "label": "dog"}', '{'],
      r'line 2, is not JSON',
    ),
    ('t.jsonl', ['[1]'], r'line 1, is not an object'),
    ('t.jsonl', ['{"label": "dog"}'], r'line 1, names no image'),
    ('t.jsonl', ['{"image": "a", "label": 1.5}'], r'1.5 is neither a name nor'),
    ('t.jsonl', ['{"image": "a", "label": true}'], r'True is neither a name'),
  ],
)
def test_a_line_that_makes_no_sense_is_named(root, name, lines, message):
  write(root, name, *lines)
  with pytest.raises(errors.UserError, match=message):
    label_file.read(root, 't', ('cat', 'dog'))


def test_a_split_without_a_list_has_none(root):
  assert label_file.find(root, 'train') is None
  write(root, 'train.csv', 'image,label')
  assert label_file.find(root, 'train') == root / 'train.csv'
