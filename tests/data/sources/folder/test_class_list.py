import pytest

from vit_jax import errors
from vit_jax.data.sources.folder import class_list


def folders(split, *labels):
  return class_list.Labels(split, {x: f'{split}/{x}' for x in labels}, False)


def listed(split, *labels):
  places = {x: f'{split}.csv, line {i}' for i, x in enumerate(labels, 2)}
  return class_list.Labels(split, places, True)


@pytest.mark.parametrize(
  'splits, names, indices',
  [
    ([folders('a', 'x', 'y'), listed('b', 'y', 'z')], 'xyz', [0, 1, 1, 2]),
    ([listed('a', 'y'), folders('b', 'x')], 'xy', [1, 0]),
    ([folders('a', '7', 'x'), listed('b', 'x', '7')], '7x', [0, 1, 1, 0]),
    ([folders('a', '0', '1'), listed('b', '1.0')], '01', [0, 1, 1]),
    ([listed('a', '2', '1'), folders('b', '1', '2')], '12', [1, 0, 0, 1]),
    ([folders('a', *'210'), folders('b', '1')], '012', [2, 1, 0, 1]),
    ([listed('a', '1.0', '02'), folders('b', '0')], '012', [1, 2, 0]),
    ([folders('a', '1.5', 'v'), listed('b', '1.5')], ['1.5', 'v'], [0, 1, 0]),
    ([folders('a', '-2', 'v'), listed('b', '-2')], ['-2', 'v'], [0, 1, 0]),
    ([listed('a', '³', 'x')], 'x³', [1, 0]),
  ],
)
def test_an_index_is_the_same_in_every_split(splits, names, indices):
  classes = class_list.unite(splits)
  assert classes.names == tuple(names)
  found = [classes.index(label) for split in splits for label in split.first]
  assert found == indices


@pytest.mark.parametrize(
  'labels, num_classes, count',
  [
    (['0', '1', '2'], None, 3),
    (['1', '12'], None, 13),
    (['4', '9'], None, 10),
    (['30', '7'], 100, 31),
    (['2023'], 3000, 2024),
  ],
)
def test_numbers_are_indices(labels, num_classes, count):
  classes = class_list.unite([listed('a', *labels)], num_classes)
  assert classes.names is None and classes.num_classes == count
  assert not classes.note
  assert [classes.index(label) for label in labels] == [*map(int, labels)]


@pytest.mark.parametrize(
  'labels', [['1999', '2003'], ['2023110003'], ['100', '1', '200'], ['9' * 40]]
)
def test_numbers_that_leave_most_indices_unused_are_names(labels):
  classes = class_list.unite([listed('a', *labels)], num_classes=50)
  assert classes.names == tuple(sorted(labels, key=int))
  assert classes.num_classes == len(labels)
  assert 'are taken as names; data.num_classes makes them' in classes.note


@pytest.mark.parametrize(
  'splits, message',
  [
    ([listed('a', 'x', '7')], r"a.csv, line 3: .* '7' is a num.*'x' \(a.csv, "),
    ([listed('a', 'x'), listed('b', '7')], r"b.csv, line 2.*'x' \(a.csv, line"),
    ([folders('a', 'x'), listed('b', '7')], r"b.csv, line 2: .* 'x' \(a/x\)"),
    ([listed('a', '7'), folders('b', 'x')], r"a.csv, line 2: .* 'x' \(b/x\)"),
    ([listed('a', '1.5')], r"a.csv, line 2: the label '1.5' is neither"),
    ([listed('a', '1', '-2')], r"a.csv, line 3: the label '-2' is neither"),
  ],
)
def test_numbers_and_names_are_not_mixed(splits, message):
  with pytest.raises(errors.UserError, match=message):
    class_list.unite(splits)


def test_without_labels_there_is_no_class():
  assert class_list.unite([listed('a'), folders('b')]).num_classes == 0


def test_listed_names_that_are_numbers_are_no_indices():
  classes = class_list.ClassList(('3', '7', '9'), 3)
  assert [classes.index(x) for x in ('7', '7.0', '07', '1')] == [1, 1, 1, None]


def test_a_number_is_an_index_in_a_list_of_listed_names_alone():
  classes = class_list.ClassList(('x', 'y'), 2, is_listed=True)
  assert classes.index('1') == 1 and classes.index('2') is None
  classes.check(listed('a', '1', 'x'), 'it')
  with pytest.raises(errors.UserError, match=r"a/1: class '1' is not in it"):
    classes.check(folders('a', '1'), 'it')
  unlisted = class_list.unite([folders('a', 'x', 'y')])
  with pytest.raises(errors.UserError, match=r"line 2: class '1' is not in it"):
    unlisted.check(listed('b', '1'), 'it')
