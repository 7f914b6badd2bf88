"""The command line: `vit_jax COMMAND --flag=value ...`.

It parses and dispatches; the commands are in `commands`.
"""

import argparse
import sys

import vit_jax
from vit_jax import errors
from vit_jax.cli import commands, flags


def main(argv=None):
  """Runs one command and returns its exit status; see docs/faults.md.

  0: done; 1: `verify` has found corruption, `plan` that the run does not fit,
  `reproduce` lacks a number, `predict` or `analyze` could not read an image, a
  task of a `sweep` has to wait for others; 2: a mistake of the user; 70: no
  progress, or other processes did not join (`watchdog`, `distributed`); 75:
  stopped by a signal, and saved (`preemption`).

  Args:
    argv: the arguments after the program's name; None: those of this process.
  """
  argv = sys.argv[1:] if argv is None else list(argv)
  try:
    if not argv or argv[0] in ('-h', '--help'):
      print(_overview())
      return 0 if argv else 2
    if argv[0] == '--version':
      print(f'vit_jax {vit_jax.__version__}')
      return 0
    name, *rest = argv
    if name in commands.RENAMED:
      raise errors.UserError(
        f'{name} is now called {commands.RENAMED[name]}: '
        f'vit_jax {commands.RENAMED[name]}.'
      )
    if name not in commands.COMMANDS:
      known = errors.nearest(name, commands.COMMANDS, 'vit_jax --help')
      raise errors.UserError(f'{name!r} is not a command. {known}')
    if '-h' in rest or '--help' in rest:
      print(_help(name))
      return 0
    return commands.COMMANDS[name].run(_parse(name, rest)) or 0
  except errors.UserError as error:
    print(errors.text(error), file=sys.stderr)
    return 2
  except OSError as error:
    if '://' not in str(error.filename):
      raise
    reason = error.strerror or error
    problem = f'{error.filename} can not be read or written: {reason}.'
    print(errors.text(errors.UserError(problem)), file=sys.stderr)
    return 2


RECIPES = """
A recipe is a Python file, given by its path, or one of those that ship with
vit_jax, by its name in configs/, from any folder; the part after : sets knobs:
  --config=quickstart.py   --config=finetune/transfer.py:dataset=cifar10
  --config=finetune/transfer.py:init=gs://bucket/x.npz,dataset=cifar10
A value with a comma is in quotes: init='a,b.npz'.
"""

OVERRIDES = """
Every field of the configuration (vit_jax/config/schema.py) can be overridden:
  --config.optimizer.learning_rate=3e-4   --config.data.resolution=384
  --config.data.flip=false                --config.run.num_epochs=none
"""


def _overview():
  rows = [
    f'  {name:10}{row.purpose}' for name, row in commands.COMMANDS.items()
  ]
  return '\n'.join(
    [
      'Vision Transformer in JAX.\n\nUsage: vit_jax COMMAND --flag=value ...\n',
      *rows,
      '\n`vit_jax COMMAND --help` lists the flags of a command, '
      '`vit_jax --version` prints the version.',
    ]
  )


def _help(name):
  command = commands.COMMANDS[name]
  lines = [command.purpose, '', f'Usage: vit_jax {name} --flag=value ...', '']
  for flag in command.flags:
    _, value, purpose, _ = flags.FLAGS[flag]
    needed = ' (required)' if flag in command.required else ''
    written = f'{flag}={value}' if value else flag
    lines.append(f'  --{written:23}{purpose}{needed}')
  if 'config' in command.flags:
    lines.append(RECIPES.rstrip())
  if command.takes_overrides:
    lines.append(OVERRIDES.rstrip())
  lines += ['', 'Examples:']
  lines += [f'  vit_jax {name} {example}' for example in command.examples]
  return '\n'.join(lines)


def _parse(name, argv):
  """Returns the arguments of a command, with `overrides` of config fields."""
  command = commands.COMMANDS[name]
  overrides = []
  if command.takes_overrides:
    argv, overrides = _split_overrides(argv)
  for i, flag in enumerate(command.bare):
    if i < len(argv) and not argv[i].startswith('-'):
      argv = [*argv[:i], f'--{flag}={argv[i]}', *argv[i + 1 :]]
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  parser.error = _raise
  for flag in command.flags:
    row = flags.FLAGS[flag]
    if not row.value:
      parser.add_argument(f'--{flag}', action='store_true')
      continue
    action = 'append' if row.repeats else 'store'
    parser.add_argument(f'--{flag}', type=row.type, action=action)
  args, unknown = parser.parse_known_args(argv)
  if unknown:
    known = [f'--{flag}' for flag in command.flags]
    given = unknown[0].partition('=')[0]
    hint = errors.nearest(given, known, f'vit_jax {name} --help')
    if flags.RENAMED.get(given) in known:
      hint = f'It is now called {flags.RENAMED[given]}.'
    raise errors.UserError(f'vit_jax {name} has no {unknown[0]}. {hint}')
  for flag in command.required:
    if not getattr(args, flag):
      raise errors.UserError(
        f'vit_jax {name} needs --{flag}={flags.FLAGS[flag].value}; '
        f'for example: vit_jax {name} {command.examples[0]}'
      )
  args.overrides = overrides
  return args


def _split_overrides(argv):
  """Returns the other arguments, and the overrides as '--config.a.b=value'."""
  rest, overrides = [], []
  awaits_value = False
  for argument in argv:
    if argument.startswith(('--config.', '--noconfig.')):
      overrides.append(argument)
      awaits_value = '=' not in argument
    elif awaits_value and not argument.startswith('--'):
      overrides[-1] += f'={argument}'
      awaits_value = False
    else:
      rest.append(argument)
      awaits_value = False
  return rest, overrides


def _raise(message):
  raise errors.UserError(message)
