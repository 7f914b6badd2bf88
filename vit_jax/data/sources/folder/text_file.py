"""Text files that people write: UTF-8, or UTF-16 by its byte order mark."""

import codecs
import io

from vit_jax import errors, files
from vit_jax.data import names

MAX_BYTES = 1 << 30  # Lists of ten million images have fewer.

_MARKS = {
  codecs.BOM_UTF8: 'utf-8-sig',
  codecs.BOM_UTF16_LE: 'utf-16',
  codecs.BOM_UTF16_BE: 'utf-16',
}


def read(path):
  """Returns the text of a file.

  Raises:
    UserError: it can't be read or decoded, or holds a zero byte; names file,
      line and byte.
  """
  try:
    data = files.read_bytes(path, MAX_BYTES)
  except OSError as error:
    raise errors.UserError(
      f'{names.shown(path)} can not be read: {error.strerror or error}.'
    ) from error
  encodings = (name for mark, name in _MARKS.items() if data.startswith(mark))
  encoding = next(encodings, 'utf-8')
  try:
    text = data.decode(encoding)
  except UnicodeDecodeError as error:
    raise _unreadable(path, data, error, encoding) from error
  if '\0' in text:
    before = text[: text.index('\0')]
    raise errors.UserError(
      f'{names.shown(path)}, {_place(before, before.encode(encoding))}: a zero '
      'character, which no text has (perhaps UTF-16 without its mark); save '
      'it as UTF-8.'
    )
  return text


def lines(text):
  """Returns the lines of a text with their ends: line feeds, and no others.

  str.splitlines also splits at characters that JSON strings may hold.
  """
  return list(io.StringIO(text, newline=''))


def _unreadable(path, data, error, encoding):
  if encoding == 'utf-8-sig':  # Its offsets do not count the mark.
    before = data[: len(codecs.BOM_UTF8) + error.start]
  else:
    before = data[: error.start]
  text = before.decode(encoding, 'ignore')
  found = data[len(before) : len(before) + 1].hex() or 'nothing'
  name = 'UTF-16' if encoding == 'utf-16' else 'UTF-8'
  return errors.UserError(
    f'{names.shown(path)}, {_place(text, before)}: {found} is not {name}; '
    'save it as UTF-8.'
  )


def _place(text, before):
  """Returns line and byte of what follows a text and its bytes."""
  line = 1 + text.count('\n') + text.replace('\r\n', '').count('\r')
  return f'line {line}, byte {len(before):,}'
