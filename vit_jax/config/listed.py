"""Lists of values as they are typed: `a,b`, and 'a,b' in quotes for one value.

A quote counts where a value begins, and is doubled inside; parentheses hold
together, too, as in (32,48).
"""

import re

_WHOLE = r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\([^()]*\)"""


def split(text, separator, inner=''):
  """Returns the parts of a text, as they are typed.

  Args:
    text: of parts between separators.
    separator: a character.
    inner: characters behind which a value begins as well, such as the = of
      'name=value'.
  """
  ends = re.escape(separator + inner)
  token = re.compile(f'(?:{_WHOLE})(?=[{ends}]|$)|[^{ends}]*', re.DOTALL)
  parts, position = [''], 0
  while True:
    found = token.match(text, position)
    parts[-1] += found[0]
    position = found.end()
    if position == len(text):
      return parts
    if text[position] == separator:
      parts.append('')
    else:
      parts[-1] += text[position]
    position += 1


def unquoted(value):
  """Returns a value without the quotes around it, if there are."""
  mark = value[:1]
  if mark not in ('"', "'") or not re.fullmatch(_WHOLE, value, re.DOTALL):
    return value
  return value[1:-1].replace(2 * mark, mark)


def quoted(value):
  """Returns a value as it has to be typed to stay one."""
  if ',' in value or value[:1] in ('"', "'", '('):
    return "'" + value.replace("'", "''") + "'"
  return value
