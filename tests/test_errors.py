import pytest

from vit_jax import errors

NAMES = ('cosine', 'linear', 'rsqrt', 'constant')


def test_a_slip_of_the_finger_finds_the_name():
  assert errors.nearest('cosin', NAMES) == 'Did you mean cosine?'
  assert errors.nearest('RSQRD', NAMES) == 'Did you mean rsqrt?'


def test_the_nearest_comes_first():
  assert errors.nearest('ViT-B/61', ('ViT-L/16', 'ViT-B/16')).startswith(
    'Did you mean ViT-B/16 or '
  )


def test_the_case_of_the_known_name_is_kept():
  assert errors.nearest('vit-b/16', ('ViT-B/16',)) == 'Did you mean ViT-B/16?'


def test_where_nothing_is_near_all_are_listed_sorted():
  assert errors.nearest('xyz', NAMES) == (
    'It can be: constant, cosine, linear, rsqrt.'
  )


def test_choose_returns_what_the_name_stands_for():
  assert errors.choose('schedule', 'b', {'a': 1, 'b': 2}) == 2


def test_choose_names_field_and_nearest():
  message = "schedule='cosin' is unknown. Did you mean cosine?"
  with pytest.raises(errors.UserError) as info:
    errors.choose('schedule', 'cosin', dict.fromkeys(NAMES))
  assert str(info.value) == message


def test_a_user_error_is_a_value_error():
  with pytest.raises(ValueError, match='told'):
    raise errors.UserError('told')
