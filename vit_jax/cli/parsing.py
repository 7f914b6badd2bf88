"""The arguments of a command, parsed by argparse as the tables say.

Flags may stand anywhere; what is no flag stands for the flags that the command
names in `bare`, in their order; `--config.FIELD=VALUE` overrides a field of the
configuration. Behind `--`, nothing is a flag.
"""

import argparse

from vit_jax import errors, plugins
from vit_jax.cli import commands, flags

_OVERRIDES = ('--config.', '--noconfig.')


class _Parser(argparse.ArgumentParser):
  """A parser whose errors are the user's mistakes, in one line."""

  def error(self, message):
    raise errors.UserError(message)


def asks_for_help(argv):
  """Returns whether a flag among the arguments asks for help."""
  before, _ = _at_dashes(argv)
  return '-h' in before or '--help' in before


def parse(name, argv):
  """Returns the arguments of a command, with `overrides` of config fields.

  Args:
    name: of a command.
    argv: what follows the name.

  Raises:
    UserError: a flag is unknown, lacks its value, or has one that does not fit;
      something is missing, or given twice.
  """
  command = commands.COMMANDS[name]
  before, after = _at_dashes(argv)
  overrides = []
  if command.takes_overrides:
    before, overrides = _split_overrides(before)
  parser = _parser(command)
  args, rest = parser.parse_known_args(before)
  unknown = [text for text in rest if text.startswith('-') and text != '-']
  if unknown:
    raise _unknown(name, unknown[0])
  _place(name, [*rest, *after], args)
  for flag in command.flags:
    _check_choice(flag, getattr(args, _attribute(flag), None))
  for flag in command.required:
    if not getattr(args, _attribute(flag)):
      raise errors.UserError(
        f'vit_jax {name} needs --{flag}={flags.FLAGS[flag].value}; '
        f'for example: vit_jax {name} {command.examples[0]}'
      )
  args.overrides = overrides
  return args


def usage(name):
  """Returns how a command is called: `vit_jax convert WEIGHTS PATH ...`."""
  command = commands.COMMANDS[name]
  words = []
  for place in command.bare:
    shown = _placeholder(place)
    if _takes_several(place):
      shown = f'{shown}...'
    words.append(shown if place in command.required else f'[{shown}]')
  return ' '.join(['vit_jax', name, *words, '--flag=value ...'])


def _parser(command):
  parser = _Parser(add_help=False, allow_abbrev=False)
  for flag in command.flags:
    row = flags.FLAGS[flag]
    if row.sets:
      target, value = row.sets
      parser.add_argument(
        f'--{flag}', dest=target, action='store_const', const=value
      )
    elif row.value:
      action = 'append' if row.repeats else 'store'
      parser.add_argument(f'--{flag}', type=row.type, action=action)
    else:
      parser.add_argument(f'--{flag}', action='store_true')
  return parser


def _attribute(flag):
  return flag.replace('-', '_')


def _at_dashes(argv):
  """Returns the arguments before the first `--`, and those behind it."""
  argv = list(argv)
  if '--' not in argv:
    return argv, []
  place = argv.index('--')
  return argv[:place], argv[place + 1 :]


# Overrides ------------------------------------------------------------------


def _split_overrides(argv):
  """Returns the other arguments, and the overrides as '--config.a.b=value'."""
  rest, overrides = [], []
  awaits_value = False
  for argument in argv:
    if argument.startswith(_OVERRIDES):
      overrides.append(argument)
      awaits_value = argument.startswith('--config.') and '=' not in argument
    elif awaits_value and _is_value(argument, overrides[-1]):
      overrides[-1] += f'={argument}'
      awaits_value = False
    else:
      rest.append(argument)
      awaits_value = False
  return rest, overrides


def _is_value(argument, override):
  """Returns whether an argument is the value of the override before it."""
  if argument.startswith('--'):
    return False
  from vit_jax.config import overrides  # Slow, and rarely needed.

  field = override.removeprefix('--config.')
  return not overrides.is_switch(field) or argument.lower() in (
    'true',
    'false',
  )


# Positional arguments -------------------------------------------------------


def _place(name, positional, args):
  """Puts positional arguments in the places of the flags they stand for.

  Args:
    name: of the command.
    positional: what was given without a flag.
    args: what was given with one; takes what the others stand for.
  """
  places = list(commands.COMMANDS[name].bare)
  placed = {}
  for text in positional:
    if not places:
      raise errors.UserError(
        f'vit_jax {name} has no {text}. It is called {usage(name)}'
      )
    place = places[0]
    flag = place.choose(text) if isinstance(place, commands.Either) else place
    if getattr(args, _attribute(flag), None):
      raise errors.UserError(
        f'vit_jax {name}: {text} stands for --{flag}, which is given as well; '
        'give one of the two.'
      )
    placed.setdefault(flag, []).append(_value(flag, text))
    if not _takes_several(place):
      places.pop(0)
  for flag, values in placed.items():
    repeats = flags.FLAGS[flag].repeats
    setattr(args, _attribute(flag), values if repeats else values[0])


def _value(flag, text):
  """Returns the value that a text is for a flag, as argparse does."""
  try:
    return flags.FLAGS[flag].type(text)
  except argparse.ArgumentTypeError as error:
    raise errors.UserError(f'argument --{flag}: {error}') from error


def _takes_several(place):
  return not isinstance(place, commands.Either) and flags.FLAGS[place].repeats


def _placeholder(place):
  if isinstance(place, commands.Either):
    return '|'.join(flags.FLAGS[flag].value for flag in place.flags)
  return flags.FLAGS[place].value


# Mistakes -------------------------------------------------------------------


def _unknown(name, argument):
  known = [f'--{flag}' for flag in commands.COMMANDS[name].flags]
  given = argument.partition('=')[0]
  hint = errors.nearest(given, known, f'vit_jax {name} --help')
  if flags.RENAMED.get(given) in known:
    hint = f'It is now called {flags.RENAMED[given]}.'
  return errors.UserError(f'vit_jax {name} has no {argument}. {hint}')


def _check_choice(flag, value):
  choices, is_open = flags.FLAGS[flag].choices, flags.FLAGS[flag].is_open
  if is_open and plugins.installed():
    return  # Whoever looks it up knows them.
  if choices and value is not None:
    for each in value if isinstance(value, tuple) else (value,):
      errors.choose(f'--{flag}', each, dict.fromkeys(choices))
