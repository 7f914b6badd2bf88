"""Names of files and classes: how they are compared, and how they are shown.

A name that comes from a file system need not be text: a zip made on Windows
unpacks to bytes that are not UTF-8, which Python carries as lone surrogates and
refuses to print. And one text has several spellings: macOS takes letters and
accents apart (NFD), keyboards give them together (NFC).
"""

import collections
import re
import unicodedata

_UNPRINTABLE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


def key(name):
  """Returns what names that mean the same have in common."""
  return unicodedata.normalize('NFC', name).strip()


def shown(name):
  """Returns a name or path as one line of valid text.

  Bytes that are not UTF-8 and control characters become U+FFFD.
  """
  return _UNPRINTABLE.sub('\ufffd', str(name))


def distinct(names):
  """Returns names as `shown`, spelt out where that would make two the same."""
  texts = [shown(name) for name in names]
  counts = collections.Counter(texts)
  return tuple(
    name.encode('unicode_escape').decode()
    if text != name and counts[text] > 1
    else text
    for name, text in zip(names, texts)
  )


def quoted(names, most=5):
  """Returns the first of some names in a row, and how many more there are."""
  names = [shown(name) for name in names]
  more = f' and {len(names) - most:,} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more
