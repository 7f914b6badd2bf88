"""The command line: `vit_jax COMMAND --flag=value ...`.

It parses and dispatches; what a command does is in the module it calls, which
is imported only then, so that help is there at once.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

from vit_jax import errors, preemption


class Command(NamedTuple):
  """A row of the table of commands."""

  run: Callable  # Takes the parsed arguments.
  purpose: str  # One line.
  flags: tuple  # Names of rows of FLAGS.
  required: tuple  # Those of them that must be given.
  examples: tuple  # Arguments, as they follow the name of the command.
  bare: tuple = ()  # The flags that first words without dashes are for.


def main(argv=None):
  """Runs one command and returns its exit status; see docs/faults.md.

  0: done; 1: `verify` has found damage; 2: a mistake of the user; 70: no
  progress (`watchdog`); 75: told to stop, and saved (`preemption`).

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
    return COMMANDS[name].run(_parse(name, rest)) or 0
  except errors.UserError as error:
    print(f'vit_jax: error: {error}', file=sys.stderr)
    return 2


def _train(args):
  from vit_jax import recipes

  # A typing mistake is told before the slow imports.
  config = recipes.load(args.config, args.overrides)

  with preemption.Stop():  # The imports take a while.
    from vit_jax import processes, train

    try:
      train.run(config, args.workdir)
    except preemption.Preempted as stopped:
      print(stopped, file=sys.stderr)
      processes.leave(preemption.STATUS)


def _evaluate(args):
  from vit_jax import evaluate

  for name, value in evaluate.run(args.workdir).items():
    print(f'{name:14}{value:.6g}')


def _verify(args):
  from vit_jax import verify

  lines, are_good = verify.run(args.workdir)
  print('\n'.join(lines))
  return 0 if are_good else 1


def _inspect(args):
  import jax

  from vit_jax import inspection, recipes

  config = recipes.load(args.config, args.overrides)
  print(inspection.text(config, args.devices or jax.device_count()))


def _predict(args):
  from vit_jax import predict

  return predict.run(
    args.checkpoint,
    args.input,
    args.model,
    args.resolution,
    args.top,
    args.logits,
    args.features,
  )


def _convert(args):
  from vit_jax import convert

  source_format = getattr(args, 'from')
  line = convert.run(
    args.source, args.target, args.to, args.model, source_format, args.drop
  )
  print(line)


def _prepare(args):
  from vit_jax import prepare

  print(prepare.run(args.dataset, args.data_dir))


def _show(args):
  from vit_jax import recipes

  config = recipes.load(args.config, args.overrides)

  from vit_jax import show

  print(show.run(config, args.output))


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
  'verify': Command(
    run=_verify,
    purpose='Check every checkpoint of a run: complete, and what was saved?',
    flags=('workdir',),
    required=('workdir',),
    examples=('--workdir=/tmp/quickstart', '/tmp/quickstart'),
    bare=('workdir',),
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
  'predict': Command(
    run=_predict,
    purpose='Classify images with released weights, or with those of a run.',
    flags=(
      *('checkpoint', 'input', 'model', 'resolution', 'top'),
      *('logits', 'features'),
    ),
    required=('checkpoint', 'input'),
    examples=(
      '--checkpoint=augreg/B_16-i21k-imagenet2012-384 --input=cat.jpg',
      '--checkpoint=ViT-B_16.npz --model=ViT-B/16 --input=batch.npy '
      '--logits=logits.npy',
    ),
  ),
  'convert': Command(
    run=_convert,
    purpose='Write weights in the format of another project.',
    flags=('source', 'target', 'to', 'from', 'model', 'drop'),
    required=('source', 'target', 'to'),
    examples=(
      '/tmp/quickstart /tmp/for_timm --to=timm',
      "imagenet21k/ViT-B_16 /tmp/b16 --to=huggingface --drop='head.*'",
    ),
    bare=('source', 'target'),
  ),
  'prepare': Command(
    run=_prepare,
    purpose='Download and prepare a data set, or tell how to come by it.',
    flags=('dataset', 'data_dir'),
    required=('dataset',),
    examples=('--dataset=cifar10', 'imagenet2012 --data_dir=/data/tfds'),
    bare=('dataset',),
  ),
  'show': Command(
    run=_show,
    purpose='Draw the first batch as the model will see it.',
    flags=('config', 'output'),
    required=('config', 'output'),
    examples=('--config=configs/quickstart.py --output=/tmp/batch.png',),
  ),
}


def _count(text):
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0')
  return int(text)


def _resolution(text):
  """Returns (side,) or (rows, columns) of '384' or '224x384'."""
  sides = text.split('x')
  if len(sides) > 2 or not all(side.isdecimal() for side in sides):
    raise argparse.ArgumentTypeError(
      f'{text!r} is neither a side, as 384, nor rows x columns, as 224x384'
    )
  return tuple(int(side) for side in sides)


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
  'dataset': Flag(
    str, 'NAME', 'of vit_jax/data/datasets.py or TFDS, or vtab/TASK'
  ),
  'data_dir': Flag(str, 'FOLDER', 'of data sets; default: where TFDS has it'),
  'output': Flag(str, 'FILE', 'the picture to write, a PNG'),
  'checkpoint': Flag(
    str, 'WEIGHTS', 'a name as augreg/B_16, a file, an address, a run'
  ),
  'input': Flag(str, 'IMAGES', 'an image, a folder, or pixels as .npy'),
  'model': Flag(str, 'NAME', 'as ViT-B/16; default: as the weights tell'),
  'resolution': Flag(
    _resolution, 'PIXELS', '384 or 224x384; default: as it was trained'
  ),
  'top': Flag(_count, 'NUMBER', 'classes to print for each image; default: 5'),
  'logits': Flag(str, 'FILE', '.npy to write, [images, classes]'),
  'features': Flag(str, 'FILE', '.npy to write, [images, width]'),
  'source': Flag(str, 'WEIGHTS', 'a name, a file, an address, a run'),
  'target': Flag(str, 'PATH', 'an .npz file, or a folder to make'),
  'to': Flag(str, 'FORMAT', 'google, big_vision, huggingface, timm or orbax'),
  'from': Flag(str, 'FORMAT', 'of the source; default: as its names tell'),
  'drop': Flag(str, 'PATTERN', "of parameters to leave out, as 'head.*'"),
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
  for i, flag in enumerate(command.bare):
    if i < len(argv) and not argv[i].startswith('-'):
      argv = [*argv[:i], f'--{flag}={argv[i]}', *argv[i + 1 :]]
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
