"""Mistakes of the person at the keyboard, told in one clear line."""

import difflib
import fnmatch
import re

MAX_WORD = 300  # Characters of a word that are shown,
MAX_SHOWN = 20_000  # and of a message.
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
  return shown('\n'.join([f'vit_jax: error: {error}', *notes]))


def nearest(name, known, where=''):
  """Returns a sentence that names what of `known` is most like `name`.

  Args:
    name: what was given.
    known: names; all are told only if they are few.
    where: says where all are listed, to end the sentence with.
  """
  known = sorted(known)
  lowered = {candidate.lower(): candidate for candidate in known}
  name = str(name)[:MAX_WORD].lower()
  close = difflib.get_close_matches(name, lowered, n=3, cutoff=0.5)
  if close:
    return f'Did you mean {" or ".join(lowered[match] for match in close)}?'
  if len(known) <= MAX_LISTED:
    return f'It can be: {", ".join(known)}.'
  close = difflib.get_close_matches(name, lowered, n=MAX_NEAREST, cutoff=0.0)
  listed = ', '.join(lowered[match] for match in close)
  others = f'{len(known) - len(close):,} others'
  return f'The nearest: {listed}; there are {others}{where and f" ({where})"}.'


def choose(field, name, table):
  """Returns `table[name]`; an unknown name is the user's mistake.

  Args:
    field: how the user calls what is chosen, e.g. 'optimizer.schedule'.
    name: what was given.
    table: what there is, by name.

  Raises:
    UserError: `name` is not in the table; it names the nearest.
  """
  if not isinstance(name, str) or name not in table:
    raise UserError(f'{field}={name!r} is unknown. {nearest(name, table)}')
  return table[name]


def matching(what, pattern, known):
  """Returns the names of `known`, in their order, that fit a pattern.

  Args:
    what: how the user calls such a name, e.g. 'model'.
    pattern: as of files: * is any text, ? any letter, [ab] one of them.
    known: names.

  Raises:
    UserError: there are none; it names the nearest, or the pattern that works.
  """
  known = list(known)
  found = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
  if found:
    return found
  within = f'*{pattern.strip("*")}*'
  if any(fnmatch.fnmatchcase(name, within) for name in known):
    hint = f'Those that contain it: {within!r}.'
  else:
    hint = nearest(pattern, known)
  raise UserError(f'No {what} matches {pattern!r}. {hint}')


def shown(text):
  """Returns a text as a terminal or a log can show it, whoever wrote it.

  Names in it may be of files, classes or servers of strangers. What would move
  the cursor, change the order of letters or can't be printed is escaped; lines
  and tabs stay. Words of more than `MAX_WORD` characters are cut in the middle,
  the text at `MAX_SHOWN`.
  """
  text = _LONG_WORD.sub(_cut, str(text))
  if len(text) > MAX_SHOWN:
    text = f'{text[:MAX_SHOWN]}…'
  return ''.join(
    letter if letter.isprintable() or letter in '\n\t' else _escaped(letter)
    for letter in text
  )


_LONG_WORD = re.compile(rf'\S{{{MAX_WORD + 1},}}')


def _cut(match):
  return f'{match[0][: MAX_WORD // 2]}…{match[0][-MAX_WORD // 4 :]}'


def _escaped(letter):
  return letter.encode('unicode_escape').decode()
