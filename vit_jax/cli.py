"""The command line: `vit_jax COMMAND --flag=value ...`.

It parses and dispatches; what a command does is in the module it calls, which
is imported only then, so that help is there at once.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

from vit_jax import errors


class Command(NamedTuple):
  """A row of the table of commands."""

  run: Callable  # Takes the parsed arguments.
  purpose: str  # One line.
  flags: tuple  # Names of rows of FLAGS.
  required: tuple  # Those of them that must be given.
  examples: tuple  # Arguments, as they follow the name of the command.


def main(argv=None):
  """Runs one command and returns the exit status: 0, or 2 for a user's mistake.

  Args:
    argv: the arguments after the program's name; None: those of this process.
  """
  argv = sys.argv[1:] if argv is None else list(argv)
  try:
    if not argv or argv[0] in ('-h', '--help'):
      print(_overview())
      return 0 if argv else 2
    name, *rest = argv
    if name not in COMMANDS:
      raise errors.UserError(
        f'{name!r} is not a command. {errors.nearest(name, COMMANDS)}'
      )
    if '-h' in rest or '--help' in rest:
      print(_help(name))
      return 0
    COMMANDS[name].run(_parse(name, rest))
    return 0
  except errors.UserError as error:
    print(f'vit_jax: error: {error}', file=sys.stderr)
    return 2


def _train(args):
  from vit_jax import recipes

  # A typing mistake is told before the slow imports.
  config = recipes.load(args.config, args.overrides)

  from vit_jax import train

  train.run(config, args.workdir)


def _evaluate(args):
  from vit_jax import evaluate

  for name, value in evaluate.run(args.workdir).items():
    print(f'{name:14}{value:.6g}')


def _inspect(args):
  import jax

  from vit_jax import inspection, recipes

  config = recipes.load(args.config, args.overrides)
  print(inspection.text(config, args.devices or jax.device_count()))


COMMANDS = {
  'train': Command(
    run=_train,
    purpose='Train a model, or continue where the run stopped.',
    flags=('config', 'workdir'),
    required=('config', 'workdir'),
    examples=(
      '--config=configs/quickstart.py --workdir=/tmp/quickstart',
      '--config=configs/pretrain/vit_i1k.py:variant=B/16 --workdir=/tmp/b16 '
      '--config.run.batch_size=1024',
    ),
  ),
  'evaluate': Command(
    run=_evaluate,
    purpose='Measure the newest checkpoint of a run.',
    flags=('workdir',),
    required=('workdir',),
    examples=('--workdir=/tmp/quickstart',),
  ),
  'inspect': Command(
    run=_inspect,
    purpose='Show the model, its parameters and how they are split.',
    flags=('config', 'devices'),
    required=('config',),
    examples=(
      '--config=configs/quickstart.py',
      '--config=configs/pretrain/vit_i1k.py --devices=8 --config.mesh.fsdp=8',
    ),
  ),
}


def _count(text):
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0')
  return int(text)


class Flag(NamedTuple):
  """A row of the table of flags."""

  type: Callable  # Makes the value from text.
  value: str  # Stands for the value in the help.
  purpose: str  # One line.


FLAGS = {
  'config': Flag(
    str, 'RECIPE', "recipe.py, recipe.py:knob=value,..., or a run's config.json"
  ),
  'workdir': Flag(
    str, 'FOLDER', 'where the run keeps configuration, metrics, checkpoints'
  ),
  'devices': Flag(
    _count, 'NUMBER', 'devices to assume; default: those there are'
  ),
}

OVERRIDES = """
Every field of the configuration (vit_jax/experiment.py) can be overridden:
  --config.optimizer.learning_rate=3e-4   --config.data.resolution=384
  --config.data.flip=false                --config.run.num_epochs=none
"""


def _overview():
  rows = [f'  {name:10}{row.purpose}' for name, row in COMMANDS.items()]
  return '\n'.join(
    [
      'Vision Transformer in JAX.\n\nUsage: vit_jax COMMAND --flag=value ...\n',
      *rows,
      '\n`vit_jax COMMAND --help` tells the flags of a command.',
    ]
  )


def _help(name):
  command = COMMANDS[name]
  lines = [command.purpose, '', f'Usage: vit_jax {name} --flag=value ...', '']
  for flag in command.flags:
    _, value, purpose = FLAGS[flag]
    needed = ' (required)' if flag in command.required else ''
    lines.append(f'  --{f"{flag}={value}":18}{purpose}{needed}')
  if 'config' in command.flags:
    lines.append(OVERRIDES.rstrip())
  lines += ['', 'Examples:']
  lines += [f'  vit_jax {name} {example}' for example in command.examples]
  return '\n'.join(lines)


def _parse(name, argv):
  """Returns the arguments of a command; fields overridden, as `overrides`."""
  command = COMMANDS[name]
  overrides = []
  if 'config' in command.flags:
    argv, overrides = _split_overrides(argv)
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  parser.error = _raise
  for flag in command.flags:
    parser.add_argument(f'--{flag}', type=FLAGS[flag].type)
  args, unknown = parser.parse_known_args(argv)
  if unknown:
    known = [f'--{flag}' for flag in command.flags]
    hint = errors.nearest(unknown[0].partition('=')[0], known)
    raise errors.UserError(f'vit_jax {name} has no {unknown[0]}. {hint}')
  for flag in command.required:
    if not getattr(args, flag):
      raise errors.UserError(
        f'vit_jax {name} needs --{flag}={FLAGS[flag].value}; '
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
