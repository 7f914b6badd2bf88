"""Mistakes of the person at the keyboard, told in one clear line."""

import difflib

MAX_LISTED = 12  # Names that are all told.
MAX_NEAREST = 5  # Of more, those that are told.


class UserError(ValueError):
  """Something the user can put right; shown without a traceback.

  The message says what was given, what fits and what to do.
  """


class DivergedError(UserError):
  """The numbers of a training went wrong again and again."""


def text(error):
  """Returns what the command line shows of a `UserError`: message and notes."""
  notes = getattr(error, '__notes__', ())
  return '\n'.join([f'vit_jax: error: {error}', *notes])


def nearest(name, known, where=''):
  """Returns a sentence that names what of `known` is most like `name`.

  Args:
    name: what was given.
    known: names; all are told only if they are few.
    where: says where all are listed, to end the sentence with.
  """
  known = sorted(known)
  lowered = {candidate.lower(): candidate for candidate in known}
  close = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
  if close:
    return f'Did you mean {" or ".join(lowered[match] for match in close)}?'
  if len(known) <= MAX_LISTED:
    return f'It can be: {", ".join(known)}.'
  close = difflib.get_close_matches(
    name.lower(), lowered, n=MAX_NEAREST, cutoff=0.0
  )
  shown = ', '.join(lowered[match] for match in close)
  others = f'{len(known) - len(close):,} others'
  return f'The nearest: {shown}; there are {others}{where and f" ({where})"}.'


def choose(field, name, table):
  """Returns `table[name]`; an unknown name is the user's mistake.

  Args:
    field: how the user calls what is chosen, e.g. 'optimizer.schedule'.
    name: what was given.
    table: what there is, by name.

  Raises:
    UserError: `name` is not in the table; it names the nearest.
  """
  if name not in table:
    raise UserError(f'{field}={name!r} is unknown. {nearest(name, table)}')
  return table[name]
