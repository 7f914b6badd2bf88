import pytest

from vit_jax import errors
from vit_jax.data.sources import slices

NAMES = [f'{label}/{number}.jpg' for label in 'abc' for number in range(100)]


def take(split, names=NAMES):
  ((_, bounds),) = slices.parse(split)
  return slices.take(names, bounds, split)


def test_parts_are_read_as_tfds_writes_them():
  assert slices.parse('train') == [('train', (None, None))]
  assert slices.parse('train[:90%]+extra[-5:] + a.b-c[3:7]') == [
    ('train', (None, '90%')),
    ('extra', ('-5', None)),
    ('a.b-c', ('3', '7')),
  ]


@pytest.mark.parametrize(
  'split', ['train[', 'train[:x]', 'train[5]', '', 'a++b']
)
def test_what_is_no_split_says_how_to_write_one(split):
  with pytest.raises(
    errors.UserError, match=r'is not a split: .*train\[:99%\]'
  ):
    slices.parse(split)


@pytest.mark.parametrize('percent', [1, 10, 33, 50, 99])
def test_two_slices_share_nothing_and_leave_nothing(percent):
  first, second = take(f'train[:{percent}%]'), take(f'train[{percent}%:]')
  assert len(first) == round(3 * percent)
  assert sorted(first + second) == list(range(300))
  assert first == sorted(first)


def test_a_slice_of_sorted_classes_has_some_of_each():
  taken = take('train[:10%]')
  counts = [sum(index // 100 == label for index in taken) for label in range(3)]
  assert min(counts) >= 3


def test_smaller_slices_lie_within_larger_ones():
  assert set(take('train[:7]')) < set(take('train[:10%]')) < set(take('train'))


def test_where_an_example_falls_depends_on_its_name_alone():
  chosen = {NAMES[index] for index in take('train[:40%]')}
  reversed_names = NAMES[::-1]
  other = {reversed_names[i] for i in take('train[:40%]', reversed_names)}
  assert chosen == other


def test_bounds_may_be_numbers_and_count_from_the_end():
  assert take('train') == list(range(300))
  assert take('train[:]') == list(range(300))
  assert sorted(take('train[:250]') + take('train[-50:]')) == list(range(300))
  assert take('train[20:9999]') == take('train[20:]')
  assert take('train[-10%:]') == take('train[90%:]')


def test_an_empty_slice_is_refused():
  with pytest.raises(errors.UserError, match=r'empty: of 300 .* from 20 to 20'):
    take('train[20:20]')
