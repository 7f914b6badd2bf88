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


def test_of_many_names_five_are_told_and_where_the_others_are():
  names = [f'{letter}_{number:02}' for letter in 'abc' for number in range(51)]
  told = errors.nearest('xyz', names, 'vit_jax --help')
  assert told.startswith('The nearest: ') and told.count('_') == 6
  assert told.endswith('; there are 148 others (vit_jax --help).')
  assert errors.nearest('xyz', names).endswith('; there are 148 others.')


def test_notes_are_shown_below_the_message():
  error = errors.UserError('broken')
  assert errors.text(error) == 'vit_jax: error: broken'
  error.add_note('Step 3 is saved.')
  assert errors.text(error) == 'vit_jax: error: broken\nStep 3 is saved.'


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
