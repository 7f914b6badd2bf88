import os

import pytest

from vit_jax.data import names


@pytest.mark.parametrize(
  'one, other', [('é', 'e\u0301'), (' cat\n', 'cat'), ('가', '\u1100\u1161')]
)
def test_spellings_of_a_name_have_one_key(one, other):
  assert names.key(one) == names.key(other)
  assert names.key(one) != names.key('cat e')


@pytest.mark.parametrize('data', [b'gr\xfcn', b'a\nb', b'\x83A', b'a\xe2\x80'])
def test_any_name_is_shown_as_one_line_of_text(data):
  text = names.shown(os.fsdecode(data))
  assert '\ufffd' in text and len(text.splitlines()) == 1
  assert text.encode().decode() == text


def test_names_that_look_alike_are_told_apart():
  pair = [os.fsdecode(b'gr\xfcn'), os.fsdecode(b'gr\xf6n'), 'grau']
  assert names.distinct(pair) == ('gr\\udcfcn', 'gr\\udcf6n', 'grau')
  assert names.distinct(pair[1:]) == ('gr\ufffdn', 'grau')


def test_of_many_names_the_first_are_quoted():
  assert names.quoted('abc') == 'a, b, c'
  assert names.quoted('abcdef', 2) == 'a, b and 4 more'
