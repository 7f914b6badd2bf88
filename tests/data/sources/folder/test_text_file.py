import pytest

from vit_jax import errors
from vit_jax.data.sources.folder import text_file


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_a_mark_says_the_encoding(tmp_path, encoding):
  path = tmp_path / 'a.txt'
  path.write_bytes('käse\r\n犬'.encode(encoding))
  assert text_file.read(path) == 'käse\r\n犬'


@pytest.mark.parametrize(
  'data, message',
  [
    ('a\nkäse'.encode('latin1'), r'line 2, byte 3: e4 is not UTF-8'),
    ('a\r\n\rk\x84se'.encode('latin1'), r'line 3, byte 5: 84 is not UTF-8'),
    (b'\xef\xbb\xbfa\n\xff', r'line 2, byte 5: ff is not UTF-8'),
    ('a\nb'.encode('utf-16') + b'x', r'line 2, byte 8: 78 is not UTF-16'),
    ('a\nb'.encode('utf-16-le'), r'line 1, byte 1: a zero character'),
    (b'a\nbc\0', r'line 2, byte 4: a zero character'),
  ],
)
def test_other_bytes_are_named_with_their_place(tmp_path, data, message):
  path = tmp_path / 'a.txt'
  path.write_bytes(data)
  with pytest.raises(errors.UserError, match=rf'a\.txt, {message}'):
    text_file.read(path)


def test_a_file_that_can_not_be_read_is_named(tmp_path):
  with pytest.raises(errors.UserError, match=r'gone can not be read: No such'):
    text_file.read(tmp_path / 'gone')


def test_lines_end_as_editors_end_them_and_no_earlier():
  text = 'a\r\nb\u2028c\rd\n\ne'
  assert text_file.lines(text) == ['a\r\n', 'b\u2028c\r', 'd\n', '\n', 'e']
