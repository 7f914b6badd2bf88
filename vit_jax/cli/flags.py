"""The flags of the commands: a table of what each takes."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from vit_jax.config import paths


class Flag(NamedTuple):
  """A row of the table of flags."""

  type: Callable  # Parses the value.
  value: str  # Placeholder for the value in the help; '': a switch.
  purpose: str  # One line.
  repeats: bool = False  # May be given several times, each with a value.
  choices: tuple = ()  # The values that it takes, if they are names.
  sets: tuple = ()  # (other flag, value): a switch that is short for this.
  is_open: bool = False  # Plugins add to the choices; see `plugins`.


def _count(text):
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0')
  return int(text)


def _number(text):
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f'{text!r} is not a number from 0')
  return int(text)


def _boolean(text):
  if text not in ('true', 'false'):
    raise argparse.ArgumentTypeError(f'{text!r} is neither true nor false')
  return text == 'true'


def _names(text):
  """Returns the names of 'classification,knn'."""
  return tuple(text.split(','))


def _counts(text):
  """Returns the numbers of '1,5,10'."""
  return tuple(map(_count, text.split(',')))


def _per_cent(text):
  if _count(text) > 99:
    raise argparse.ArgumentTypeError(f'{text!r} is not 1 to 99 per cent')
  return int(text)


def _positive(most, example):
  """Returns a parser of numbers above 0 and up to `most`."""

  def parse(text):
    try:
      number = float(text)
    except ValueError:
      number = 0.0
    if not 0 < number <= most:
      raise argparse.ArgumentTypeError(
        f'{text!r} is not a number above 0 and up to {most}, as {example}'
      )
    return number

  return parse


def _auto(text):
  if text != 'auto':
    raise argparse.ArgumentTypeError(
      f'{text!r} is not auto; sizes are set as --config.mesh.fsdp=8'
    )
  return text


def _resolution(text):
  """Returns (side,) or (rows, columns) of '384' or '224x384'."""
  sides = text.split('x')
  if len(sides) > 2 or not all(side.isdecimal() for side in sides):
    raise argparse.ArgumentTypeError(
      f'{text!r} is neither a side, as 384, nor rows x columns, as 224x384'
    )
  return tuple(int(side) for side in sides)


FORMATS = ('text', 'json', 'csv')  # Of what a command prints.

FLAGS = {
  'config': Flag(
    str, 'RECIPE', "name.py or path.py, :knob=value,..., or a run's config.json"
  ),
  'workdir': Flag(
    paths.expand, 'FOLDER', 'of the run: configuration, metrics, checkpoints'
  ),
  'dataset': Flag(
    paths.expand,
    'NAME',
    'in vit_jax/data/datasets/__init__.py or TFDS, or vtab/TASK',
  ),
  'data_dir': Flag(paths.expand, 'FOLDER', "of data sets; default: TFDS's own"),
  'analysis': Flag(
    str,
    'NAME',
    'rollout, attention-distance, position-similarity or filters',
    choices=(
      *('rollout', 'attention-distance', 'position-similarity', 'filters'),
    ),
  ),
  'output': Flag(
    paths.expand,
    'PATH',
    'the PNG to write; for `report` and `explore` the HTML page, for '
    "`analyze` and `evaluate` a folder of figures (default: the run's)",
  ),
  'result': Flag(str, 'NAME', 'table1 to figure14, augreg-table3, ..., or all'),
  'dry-run': Flag(bool, '', 'only print runs, compute, data sets and files'),
  'cells': Flag(
    str, 'PATTERN', "of 'row, column', e.g. 'I21k *, B/16'; default: '*'"
  ),
  'page': Flag(
    paths.expand, 'FILE', 'Markdown with placeholders for tables, to fill in'
  ),
  'checkpoint': Flag(
    paths.expand,
    'WEIGHTS',
    'catalogue name (augreg/B_16), hf://OWNER/NAME, URL, file, run directory '
    'or RUN:best',
  ),
  'against': Flag(
    paths.expand, 'WEIGHTS', 'to be shown beside the others, as --checkpoint'
  ),
  'layers': Flag(
    _counts, 'NUMBERS', 'of layers to show, from 1; default: what fits'
  ),
  'max-megabytes': Flag(
    _positive(1000, 8), 'NUMBER', 'that the page may have; default: 8'
  ),
  'input': Flag(
    paths.expand,
    'IMAGES',
    'an image, a folder, or pixels as .npy; repeatable',
    repeats=True,
  ),
  'model': Flag(
    str, 'NAME', 'e.g. ViT-B/16; default: inferred from the weights'
  ),
  'resolution': Flag(
    _resolution, 'PIXELS', '384 or 224x384; default: that of training'
  ),
  'position_resize': Flag(
    str,
    'METHOD',
    'corner_aligned, bilinear, bicubic or bicubic_antialiased, of position '
    "embeddings; default: the weights' authors'",
    choices=('corner_aligned', 'bilinear', 'bicubic', 'bicubic_antialiased'),
  ),
  'top': Flag(_count, 'NUMBER', 'classes to print per image; default: 5'),
  'logits': Flag(paths.expand, 'FILE', '.npy to write, [images, classes]'),
  'features': Flag(paths.expand, 'FILE', '.npy to write, [images, width]'),
  'source': Flag(
    paths.expand,
    'WEIGHTS',
    'catalogue name, hf://OWNER/NAME, URL, file, run directory or RUN:best',
  ),
  'target': Flag(
    paths.expand, 'PATH', 'a file to create; for some formats a folder'
  ),
  'to': Flag(
    str,
    'FORMAT',
    'google, big_vision, huggingface, timm or orbax; for `export`, stablehlo, '
    'onnx or savedmodel',
    choices=(
      *('google', 'big_vision', 'huggingface', 'timm', 'orbax'),
      *('stablehlo', 'onnx', 'savedmodel'),
    ),
  ),
  'returns': Flag(
    str,
    'OUTPUT',
    'probabilities (default), logits or features',
    choices=('probabilities', 'logits', 'features'),
  ),
  'pixels': Flag(
    str,
    'DTYPE',
    'of the input: uint8, 0 to 255 (default), or float32, -1 to 1',
    choices=('uint8', 'float32'),
  ),
  'dtype': Flag(
    str,
    'DTYPE',
    'to compute in, float32 or bfloat16; default: that of the model',
    choices=('float32', 'bfloat16'),
  ),
  'from': Flag(str, 'FORMAT', 'of the source; default: inferred'),
  'exclude': Flag(str, 'PATTERN', "of parameters to leave out, e.g. 'head.*'"),
  'push': Flag(
    str, 'OWNER/NAME', 'on the Hugging Face Hub, to push TARGET to as well'
  ),
  'private': Flag(bool, '', 'make the pushed repository private'),
  'topology': Flag(
    str, 'CHIPS', 'v5p:8x8x8, h100:64, or a number of CPU devices'
  ),
  'mesh': Flag(
    _auto, 'auto', 'search for the cheapest mesh that fits', choices=('auto',)
  ),
  'mfu': Flag(
    _positive(1, 0.4), 'FRACTION', 'model FLOPs utilization; default: 0.4'
  ),
  'price': Flag(
    _positive(1000, 4.2), 'DOLLARS', 'per chip and hour; default: list price'
  ),
  'coordinator': Flag(
    str, 'HOST:PORT', 'of process 0, to which all processes connect'
  ),
  'num_processes': Flag(_count, 'NUMBER', 'of the run; 1: a single process'),
  'process_id': Flag(_number, 'NUMBER', 'of this process, from 0'),
  'devices': Flag(
    _count, 'NUMBER', 'to assume; default: those of this machine'
  ),
  'evaluate': Flag(
    _boolean, 'BOOLEAN', 'whether to evaluate the checkpoint; default: true'
  ),
  'num_images': Flag(
    _count, 'NUMBER', 'to evaluate, drawn at random; default: the whole split'
  ),
  'evaluators': Flag(
    _names,
    'NAMES',
    'classification (default), per_class, real, fewshot, knn',
    choices=('classification', 'per_class', 'real', 'fewshot', 'knn'),
    is_open=True,
  ),
  'split': Flag(str, 'NAME', 'to evaluate on; default: that papers report on'),
  'train_split': Flag(
    str, 'NAME', 'for fewshot and knn; default: the training split'
  ),
  'batch_size': Flag(_count, 'NUMBER', 'images per batch, over all devices'),
  'shots': Flag(_counts, 'NUMBERS', 'examples per class; default: 1,5,10,25'),
  'results': Flag(
    paths.expand,
    'FILE',
    'JSON lines to append to; default: evaluations.jsonl of the run',
  ),
  'sweep': Flag(
    str,
    'GRID',
    'e.g. optimizer.learning_rate=0.01,0.03; repeatable; default: the recipe',
    repeats=True,
  ),
  'list': Flag(bool, '', 'only print the runs, their states and folders'),
  'task': Flag(
    str,
    'TASK',
    'make one run of --list only: a number, or one of a stage, as final:0',
  ),
  'seeds': Flag(
    _count, 'NUMBER', 'of final runs, for mean and std; default: 1'
  ),
  'suite': Flag(
    str,
    'NAME',
    'vtab, vtab_full or transfer: run all its data sets',
    choices=('vtab', 'vtab_full', 'transfer'),
  ),
  'held_out': Flag(
    _per_cent,
    'PERCENT',
    "of the training split to validate on; default: the paper's, or 10",
  ),
  'pattern': Flag(str, 'PATTERN', 'of names, with * and ?; default: all'),
  'shell': Flag(
    str, 'SHELL', 'bash, zsh or fish', choices=('bash', 'zsh', 'fish')
  ),
  'format': Flag(
    str,
    'FORMAT',
    'text (default), json (an object per line) or csv',
    choices=FORMATS,
  ),
  'json': Flag(bool, '', 'short for --format=json', sets=('format', 'json')),
}

# Former names of flags: present ones.
RENAMED = {'--drop': '--exclude', '--process': '--process_id'}
