import re

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


def test_a_pattern_finds_names_in_their_order():
  known = ['ViT-B/32', 'ViT-B/16', 'ViT-L/16', 'Mixer-B/16']
  assert errors.matching('model', 'ViT-*/16', known) == ['ViT-B/16', 'ViT-L/16']
  assert errors.matching('model', '*', known) == known


@pytest.mark.parametrize(
  ('pattern', 'hint'),
  [
    ('vit-b/16', 'Did you mean ViT-B/16'),
    ('L/16', r"Those that contain it: '\*L/16\*'\."),
    ('/16*', r"Those that contain it: '\*/16\*'\."),
  ],
)
def test_a_pattern_that_finds_nothing_names_what_would(pattern, hint):
  known = ('ViT-B/16', 'ViT-L/16')
  message = f'No model matches .{re.escape(pattern)}.. {hint}'
  with pytest.raises(errors.UserError, match=message):
    errors.matching('model', pattern, known)


def test_a_user_error_is_a_value_error():
  with pytest.raises(ValueError, match='told'):
    raise errors.UserError('told')


@pytest.mark.parametrize(
  ('text', 'shown'),
  [
    ('plain é ✓ 猫\n\tline', 'plain é ✓ 猫\n\tline'),
    ('\x1b[2J\x1b]0;title\x07', r'\x1b[2J\x1b]0;title\x07'),
    ('a\rb\x00c\x7f\x9b', r'a\rb\x00c\x7f\x9b'),
    ('abc\u202egpj.exe', r'abc\u202egpj.exe'),  # Shown from right to left.
    ('cut \ud800', r'cut \ud800'),  # As of file names that are no UTF-8.
    ('line\u2028line', r'line\u2028line'),
  ],
)
def test_what_moves_the_cursor_is_escaped(text, shown):
  assert errors.shown(text) == shown
  errors.shown(text).encode()  # What is shown can be printed.


def test_long_words_are_cut_in_the_middle():
  text = errors.shown(f'begin {"a" * 100_000}.jpg is broken')
  assert len(text) < errors.MAX_WORD
  assert text.startswith('begin aaa') and text.endswith('a.jpg is broken')
  short = 'b' * errors.MAX_WORD
  assert errors.shown(short) == short
  assert len(errors.shown(f'{short}b')) < len(short)


def test_long_messages_are_cut():
  text = errors.shown('word ' * 1_000_000)
  assert len(text) == errors.MAX_SHOWN + 1 and text.endswith('…')


def test_of_many_names_a_few_are_listed():
  listed = errors.nearest('?', [f'n{number:05}' for number in range(20_000)])
  assert '19,995 others' in listed and len(listed) < 1000


@pytest.mark.parametrize('name', [None, 7, ['cosine'], {'a': 1}, 'c' * 100_000])
def test_a_choice_of_any_type_is_refused_in_a_line(name):
  with pytest.raises(errors.UserError, match='is unknown'):
    errors.choose('schedule', name, dict.fromkeys(NAMES))
