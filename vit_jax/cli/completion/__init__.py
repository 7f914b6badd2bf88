"""Scripts that complete the arguments of vit_jax in bash, zsh and fish.

Everything is in the script, so that a shell waits for no Python: commands and
flags of the tables, recipes, released files, data sets, fields, choices.
"""

import pathlib
from typing import NamedTuple

from vit_jax import errors
from vit_jax.cli import flags
from vit_jax.config import fields, recipes
from vit_jax.data import datasets
from vit_jax.weights import catalog

_FOLDER = pathlib.Path(__file__).parent
_PATHS = {'FOLDER': 'folder', 'IMAGES': 'file', 'PATH': 'file', 'FILE': 'file'}
_PATHS |= {'RECIPE': 'file', 'WEIGHTS': 'file'}


class Values(NamedTuple):
  """What completes the value of a flag."""

  names: tuple  # Those that are known.
  paths: str  # 'file', 'folder' or '': of these, too.


def script(shell, commands):
  """Returns the script for a shell.

  Args:
    shell: 'bash', 'zsh' or 'fish'.
    commands: the table `commands.COMMANDS`.

  Raises:
    UserError: it is another one.
  """
  make = {'bash': _bash, 'zsh': _zsh, 'fish': _fish}
  return errors.choose('--shell', shell, make)(commands)


def values(command, flag):
  """Returns the `Values` of a flag of a command."""
  row = flags.FLAGS[flag]
  if row.choices:
    return Values(row.choices, '')
  if flag == 'pattern':
    return Values(_patterns().get(command, ()), '')
  names = {
    'config': recipes.installed,
    'checkpoint': lambda: catalog.ENTRIES,
    'source': lambda: catalog.ENTRIES,
    'dataset': lambda: datasets.DATASETS,
    'model': lambda: {entry.model for entry in catalog.matching()},
  }.get(flag, tuple)
  return Values(tuple(sorted(names())), _PATHS.get(row.value, ''))


def places(row):
  """Returns the flags that positional arguments of a command stand for.

  Where an argument may stand for several flags, the one that takes most.

  Args:
    row: of the table of commands.
  """
  return [
    place if isinstance(place, str) else place.flags[-1] for place in row.bare
  ]


def written(flag):
  """Returns a flag as it is typed: `--top=`, or `--json` without a value."""
  return f'--{flag}=' if flags.FLAGS[flag].value else f'--{flag}'


def _patterns():
  names = {entry.model for entry in catalog.matching()}
  return {
    'checkpoints': tuple(catalog.ENTRIES),
    'config': tuple(fields.comments()),
    'models': tuple(sorted(names)),
  }


# bash and zsh ---------------------------------------------------------------


def _bash(commands):
  return _filled(
    'completion.bash', commands, lambda words: f"'{' '.join(words)} '"
  )


def _zsh(commands):
  return _filled(
    'completion.zsh', commands, lambda words: f'({" ".join(words)})'
  )


def _filled(template, commands, listed):
  """Returns a script, its tables filled in.

  Args:
    template: its file.
    commands: the table of commands.
    listed: returns words as the shell writes a list.
  """
  tables = {
    'FLAGS': [
      f'{name}) flags={listed(map(written, row.flags))} ;;'
      for name, row in commands.items()
    ],
    'PLACES': [
      f'{name}:{number}) flag={flag} ;;'
      for name, row in commands.items()
      for number, flag in _numbered(row)
    ],
    'VALUES': [
      f'{name}:{flag}) values={listed(found.names)} paths={found.paths} ;;'
      for name, row in commands.items()
      for flag in row.flags
      if any(found := values(name, flag))
    ],
    'COMMANDS': [' '.join(commands)],
    'FIELDS': [' '.join(f'--config.{name}=' for name in fields.comments())],
  }
  text = (_FOLDER / template).read_text()
  for name, lines in tables.items():
    text = text.replace(f'@{name}@', '\n    '.join(lines))
  return text


def _numbered(row):
  """Yields (number or pattern of a position, flag that it stands for)."""
  for number, flag in enumerate(places(row)):
    yield ('*' if flags.FLAGS[flag].repeats else number), flag


# fish -----------------------------------------------------------------------


def _fish(commands):
  lines = [
    '# Completion of vit_jax in fish:',
    '#   vit_jax completion fish > ~/.config/fish/completions/vit_jax.fish',
    'complete -c vit_jax -f',
  ]
  for name, row in commands.items():
    lines.append(
      f'complete -c vit_jax -n __fish_use_subcommand -a {name} '
      f'-d {_quoted(row.purpose)}'
    )
    when = f"-n '__fish_seen_subcommand_from {name}'"
    for flag in row.flags:
      lines.append(f'complete -c vit_jax {when} {_fish_flag(name, flag)}')
    for flag in places(row):
      found = values(name, flag)
      lines.append(
        f'complete -c vit_jax {when} {"-F" if found.paths else ""} '
        f'-a {_quoted(" ".join(found.names))}'
      )
  return '\n'.join(lines) + '\n'


def _fish_flag(name, flag):
  row = flags.FLAGS[flag]
  line = f'-l {flag} -d {_quoted(row.purpose)}'
  if not row.value:
    return line
  found = values(name, flag)
  takes = '-r' if found.paths else '-x'
  return f'{line} {takes} -a {_quoted(" ".join(found.names))}'


def _quoted(text):
  escaped = text.replace('\\', '\\\\').replace("'", "\\'")
  return f"'{escaped}'"
