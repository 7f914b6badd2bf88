"""What there is to type, in words: the help of commands, and their reference.

It is made from the tables of `commands` and `flags`; the documentation's page
of commands is `markdown` of each.
"""

from vit_jax.cli import commands, flags, parsing

RECIPES = """
A recipe is a Python file, given by its path, or one of those that ship with
vit_jax, by its name in configs/, from any folder; the part after : sets knobs:
  --config=quickstart.py   --config=finetune/transfer.py:dataset=cifar10
  --config=finetune/transfer.py:init=gs://bucket/x.npz,dataset=cifar10
A value with a comma is in quotes: init='a,b.npz'.
"""

OVERRIDES = """
Every field of the configuration (`vit_jax config`) can be overridden:
  --config.optimizer.learning_rate=3e-4   --config.data.resolution=384
  --config.data.flip=false                --config.run.num_epochs=none
"""


def overview():
  """Returns the help of the program: its commands, a line each."""
  width = max(map(len, commands.COMMANDS)) + 2
  rows = [
    f'  {name:{width}}{row.purpose}' for name, row in commands.COMMANDS.items()
  ]
  return '\n'.join(
    [
      'Vision Transformer in JAX.\n\nUsage: vit_jax COMMAND --flag=value ...\n',
      *rows,
      '\n`vit_jax COMMAND --help` lists the flags of a command, '
      '`vit_jax --version` prints the version.',
    ]
  )


def help(name):
  """Returns the help of a command."""
  command = commands.COMMANDS[name]
  lines = [command.purpose, '', f'Usage: {parsing.usage(name)}', '']
  for written, told in _flags(command):
    lines.append(f'  {written:25}{told}')
  if 'config' in command.flags:
    lines.append(RECIPES.rstrip())
  if command.takes_overrides:
    lines.append(OVERRIDES.rstrip())
  lines += ['', 'Examples:', *(f'  {line}' for line in _examples(name))]
  return '\n'.join(lines)


def markdown(name):
  """Returns the section of a command in the documentation, in Markdown."""
  command = commands.COMMANDS[name]
  lines = [f'## {name}', '', command.purpose, '']
  lines += ['```', parsing.usage(name), '```', '']
  lines += ['| flag | |', '|---|---|']
  for written, told in _flags(command):
    cells = told.replace('|', r'\|')
    lines.append(f'| `{written}` | {cells} |')
  if command.takes_overrides:
    lines += ['', 'Fields of the configuration: `--config.FIELD=VALUE`.']
  lines += ['', 'Examples:', '', '```', *_examples(name), '```']
  return '\n'.join(lines) + '\n'


def _flags(command):
  """Yields each flag as it is written, and what it is for."""
  for flag in command.flags:
    row = flags.FLAGS[flag]
    written = f'--{flag}={row.value}' if row.value else f'--{flag}'
    needed = ' (required)' if flag in command.required else ''
    yield written, f'{row.purpose}{needed}'


def _examples(name):
  return [
    f'vit_jax {name} {example}'.rstrip()
    for example in commands.COMMANDS[name].examples
  ]
