"""Splits and slices of them, written as TFDS writes them: train[:90%]+extra.

TFDS data sets are shuffled on disk. Folders and arrays are not (often they are
sorted by class), so their slices refer to a fixed pseudo-random order, in which
an example's position depends on its name alone: train[:90%] and train[90%:] are
a training set and a held-out set, the same on every machine.
"""

import hashlib
import re

from vit_jax import errors

_PART = re.compile(r'([\w.-]+)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?')


def parse(split):
  """Returns [(name, (begin, end))] of the parts; bounds such as '90%' or None.

  Raises:
    UserError: the split is not of that form.
  """
  parts = []
  for text in split.split('+'):
    match = _PART.fullmatch(text.strip())
    if not match:
      raise errors.UserError(
        f'{text.strip()!r} is not a split: it is a name, or a slice of the '
        'form train[:99%] or train[100:200]; a + joins several.'
      )
    parts.append((match[1], (match[2], match[3])))
  return parts


def take(names, bounds, split):
  """Returns the indices of the examples of a slice, in increasing order.

  Args:
    names: of the examples, unique within the split.
    bounds: (begin, end) of `parse`.
    split: as the user wrote it, for the error.

  Raises:
    UserError: there are none.
  """
  if bounds == (None, None):
    return list(range(len(names)))
  begin, end = bounds
  begin = 0 if begin is None else _position(begin, len(names))
  end = len(names) if end is None else _position(end, len(names))
  shuffled = sorted(range(len(names)), key=lambda i: _digest(names[i]))
  taken = sorted(shuffled[begin:end])
  if not taken:
    raise errors.UserError(
      f'The split {split!r} is empty: of {len(names)} examples it takes those '
      f'from {begin} to {end}.'
    )
  return taken


def _position(bound, count):
  if bound.endswith('%'):
    position = round(int(bound[:-1]) * count / 100)
  else:
    position = int(bound)
  return min(max(position + count if position < 0 else position, 0), count)


def fraction(name):
  """Returns a pseudo-random number in [0, 1) that a name alone determines."""
  return int.from_bytes(_digest(name), 'big') / 2**64


def _digest(name):
  # A file's name need not be UTF-8.
  data = str(name).encode('utf-8', 'surrogateescape')
  return hashlib.blake2b(data, digest_size=8).digest()
