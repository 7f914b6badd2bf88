import json

import pytest
from etils import epath

from vit_jax import errors
from vit_jax.data.sources.folder import class_list, label_file


@pytest.fixture
def root(tmp_path):
  return epath.Path(tmp_path)


def write(root, name, *lines):
  (root / name).write_text('\n'.join(lines) + '\n')
  return root / name


def labels(table):
  """Returns the `class_list.Labels` of a table."""
  first = {}
  for row, label in enumerate(table.labels):
    if label is not None:
      first.setdefault(label, table.where(row))
  return class_list.Labels(table.path.stem, first, True)


def read(*paths):
  """Returns the classes of all lists, and the indices of each."""
  tables = [label_file.read(path) for path in paths]
  classes = class_list.unite([*map(labels, tables)])
  return classes, [
    [-1 if each is None else classes.index(each) for each in table.labels]
    for table in tables
  ]


def test_names_are_sorted_over_all_splits(root):
  train = write(root, 'train.csv', 'image,label', 'a.jpg,dog', '"b, c.jpg",cat')
  test = write(root, 'test.csv', 'label,image,more', 'ant,d.jpg,x')
  classes, indices = read(train, test)
  assert label_file.read(train).images == ['a.jpg', 'b, c.jpg']
  assert classes.names == ('ant', 'cat', 'dog') and classes.num_classes == 3
  assert indices == [[2, 1], [0]]
  assert label_file.read(test).lines == [2]


def test_indices_stay_what_they_are_over_all_splits(root):
  lines = [{'image': 'a', 'label': 4}, {'image': 'b', 'label': None}]
  train = write(root, 'train.jsonl', *map(json.dumps, lines))
  test = write(root, 'test.csv', 'image,label', 'c,9', 'd,')
  classes, indices = read(train, test)
  assert classes.names is None and classes.num_classes == 10
  assert indices == [[4, -1], [9, -1]]


def test_listed_classes_are_found_by_name_or_index(root):
  write(root, 'classes.txt', 'cat', 'dog', 'emu')
  path = write(root, 'train.csv', 'image,label', 'a,dog', 'b,0')
  classes = class_list.ClassList(class_list.read(root), 3, is_listed=True)
  assert [classes.index(each) for each in label_file.read(path).labels] == [
    1,
    0,
  ]


@pytest.mark.parametrize('label', ['dgo', '3', '1.5', '-2'])
def test_a_label_that_is_not_listed_is_named_with_its_line(root, label):
  path = write(root, 't.csv', 'image,label', 'a,dog', f'b,{label}')
  classes = class_list.ClassList(('cat', 'dog', 'emu'), 3)
  with pytest.raises(errors.UserError, match=r't.csv, line 3: class .* is not'):
    classes.check(labels(label_file.read(path)), class_list.FILE)


@pytest.mark.parametrize(
  'cell, label',
  [
    (' dog ', 'dog'),
    ('"dog"', 'dog'),
    ('', None),
    ('-1', None),
    ('-1.0', None),
    ('null', None),
    ('NaN', None),
    ('none', 'none'),
    ('1.0', '1.0'),
  ],
)
def test_cells_are_stripped_and_may_have_no_label(root, cell, label):
  path = write(root, 't.csv', 'image,label', f'a,{cell}')
  assert label_file.read(path).labels == [label]


@pytest.mark.parametrize(
  'value, label',
  [
    ('" dog"', 'dog'),
    ('""', None),
    ('-1', None),
    ('-1.0', None),
    ('null', None),
    ('NaN', None),
    ('3', '3'),
    ('3.0', '3'),
    ('"3"', '3'),
  ],
)
def test_values_are_as_cells(root, value, label):
  path = write(root, 't.jsonl', f'{{"image": "a", "label": {value}}}', '')
  assert label_file.read(path).labels == [label]


@pytest.mark.parametrize(
  'lines',
  [
    ['image;label', '"a;1.jpg";cat', 'b,2.jpg;dog'],
    ['image\tlabel', '"a;1.jpg"\tcat', 'b,2.jpg\tdog'],
    ['image|label', 'a;1.jpg|cat', 'b,2.jpg|dog'],
    ['Image, LABEL', 'a;1.jpg,cat', '"b,2.jpg",dog'],
    ['"label","image",', 'cat,a;1.jpg,', 'dog,"b,2.jpg",,,'],
    ['label,image,more', '', 'cat,a;1.jpg,3', ',,', 'dog,"b,2.jpg"', ''],
  ],
)
def test_tables_of_spreadsheets_are_understood(root, lines):
  table = label_file.read(write(root, 't.csv', *lines))
  assert table.images == ['a;1.jpg', 'b,2.jpg']
  assert table.labels == ['cat', 'dog']


@pytest.mark.parametrize(
  'name, lines, message',
  [
    ('t.csv', ['image,label', ',dog'], r'line 2, names no image'),
    ('t.csv', ['image,label'], r't.csv lists no image'),
    ('t.csv', ['file,label', 'a,b'], r'columns file, label; it must'),
    ('t.csv', [], r'columns ; it must'),
    ('t.csv', ['image,label,Label', 'a,b,c'], r'2 columns called label'),
    ('t.csv', ['image,label', 'a,b', 'c'], r'line 3, has 1 cells'),
    ('t.csv', ['image,label', 'b, c.jpg,cat'], r'line 2, has 3 cells'),
    ('t.csv', ['image,label', '"b.jpg,cat', 'c,d'], r'line 3, is not CSV'),
    ('t.csv', ['image,label', 'a,b', 'c,d', 'a,e'], r"4: 'a' .*line 2 'b'"),
    ('t.csv', ['image,label', 'a,b', './a,'], r'line 3.* of none, .* line 2'),
    (
      't.jsonl',
      ['{"image": "a", "label": "dog"}', '{'],
      r'line 2, is not JSON',
    ),
    ('t.jsonl', ['[1]'], r'line 1, is not an object'),
    ('t.jsonl', ['{"label": "dog"}'], r'line 1, names no image'),
    ('t.jsonl', ['{"image": "a", "lable": "dog"}'], r'line 1, has no label'),
    ('t.jsonl', ['{"image": "a", "label": 1.5}'], r'1.5 is neither a name nor'),
    ('t.jsonl', ['{"image": "a", "label": true}'], r'True is neither a name'),
    ('t.jsonl', ['{"image": "a", "label": []}'], r'\[\] is neither a name'),
  ],
)
def test_a_line_that_makes_no_sense_is_named(root, name, lines, message):
  with pytest.raises(errors.UserError, match=message):
    label_file.read(write(root, name, *lines))


def table(root, *images):
  return label_file.read(
    write(root, 't.csv', 'image,label', *(f'{image},0' for image in images))
  )


def test_an_image_is_found_by_other_spellings_of_its_name(root):
  (root / 'Bäume').mkdir()
  for name in 'Bäume/é.jpg', ' b.jpg', 'c.jpg', 'd.heic':
    (root / name).write_bytes(b'')
  listed = ['Bäume/e\u0301.jpg', ' b.jpg', ' c.jpg ', f'{root}/c.jpg']
  listed += ['Bäume\\é.jpg', 'd.heic']
  kept, left_out = label_file.on_disk(root, table(root, *listed))
  assert kept.images[:4] == ['Bäume/é.jpg', ' b.jpg', 'c.jpg', 'c.jpg']
  assert kept.images[4:] == ['Bäume/é.jpg']
  assert left_out == {'.heic': 1}


@pytest.mark.parametrize('gone', ['b.jpg', 'x/a.jpg', '/a.jpg', 'a', '..'])
def test_missing_images_are_counted_and_the_first_is_named(root, gone):
  (root / 'a.jpg').write_bytes(b'')
  with pytest.raises(
    errors.UserError, match=r'line 3: there is no file .*\(2 of 4 listed'
  ):
    label_file.on_disk(root, table(root, 'a.jpg', gone, 'a.jpg', 'c.jpg'))


def test_a_list_of_no_images_is_refused(root):
  (root / 'a.heic').write_bytes(b'')
  with pytest.raises(errors.UserError, match=r'be decoded: 1 file \(.heic: 1'):
    label_file.on_disk(root, table(root, 'a.heic'))


@pytest.mark.parametrize('image', ['../a.jpg', 'x/../../a.jpg', '..\\a.jpg'])
def test_lists_name_no_image_outside_of_their_folder(tmp_path, image):
  root = tmp_path / 'root'
  (root / 'x').mkdir(parents=True)
  (tmp_path / 'a.jpg').write_bytes(b'\xff\xd8\xff')
  (root / 't.csv').write_text(f'image,label\n{image},cat\n')
  table = label_file.read(epath.Path(root / 't.csv'))
  with pytest.raises(errors.UserError, match=r'line 2: .*allow_outside=true'):
    label_file.on_disk(root, table)
  found, _ = label_file.on_disk(root, table, allow_outside=True)
  assert found.images == ['../a.jpg']
