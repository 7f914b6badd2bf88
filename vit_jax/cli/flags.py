"""The flags of the commands: a table of what each takes."""

import argparse
from collections.abc import Callable
from typing import NamedTuple


class Flag(NamedTuple):
  """A row of the table of flags."""

  type: Callable  # Makes the value from text.
  value: str  # Stands for the value in the help; '': a switch, which has none.
  purpose: str  # One line.
  repeats: bool = False  # May be given several times, each with a value.


def _count(text):
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0')
  return int(text)


def _number(text):
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f'{text!r} is not a number from 0')
  return int(text)


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
  """Returns what makes a number above 0, and at most `most`, of text."""

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


FLAGS = {
  'config': Flag(
    str, 'RECIPE', "name.py or path.py, :knob=value,..., or a run's config.json"
  ),
  'workdir': Flag(
    str, 'FOLDER', 'where the run keeps configuration, metrics, checkpoints'
  ),
  'dataset': Flag(
    str, 'NAME', 'of vit_jax/data/datasets/__init__.py or TFDS, or vtab/TASK'
  ),
  'data_dir': Flag(str, 'FOLDER', 'of data sets; default: where TFDS has it'),
  'analysis': Flag(
    str,
    'NAME',
    'rollout, attention-distance, position-similarity or filters',
  ),
  'output': Flag(
    str, 'PATH', 'the picture to write, a PNG; of `analyze`, a folder'
  ),
  'result': Flag(str, 'NAME', 'table1 to figure14, augreg-table3, ..., or all'),
  'dry-run': Flag(bool, '', 'only tell what it would take'),
  'cells': Flag(
    str, 'PATTERN', "of 'row, column', as 'I21k *, B/16'; default: '*'"
  ),
  'page': Flag(str, 'FILE', 'Markdown with places for tables, to fill in'),
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
  'exclude': Flag(str, 'PATTERN', "of parameters to leave out, as 'head.*'"),
  'topology': Flag(
    str, 'CHIPS', 'v5p:8x8x8, h100:64, or a number of CPU devices'
  ),
  'mesh': Flag(_auto, 'auto', 'look for the cheapest mesh that fits'),
  'mfu': Flag(_positive(1, 0.4), 'SHARE', "of the chips' peak; default: 0.4"),
  'price': Flag(
    _positive(1000, 4.2), 'DOLLARS', 'per chip and hour; default: list price'
  ),
  'coordinator': Flag(
    str, 'HOST:PORT', 'of process 0, where the processes of a run meet'
  ),
  'num_processes': Flag(_count, 'NUMBER', 'of the run; 1: this one alone'),
  'process_id': Flag(_number, 'NUMBER', 'of this process, from 0'),
  'devices': Flag(
    _count, 'NUMBER', 'devices to assume; default: those there are'
  ),
  'evaluators': Flag(
    _names, 'NAMES', 'classification (default), real, fewshot, knn'
  ),
  'split': Flag(str, 'NAME', 'to measure on; default: what papers report on'),
  'train_split': Flag(
    str, 'NAME', 'that fewshot and knn learn from; default: as to train on'
  ),
  'batch_size': Flag(_count, 'NUMBER', 'images at a time, over all devices'),
  'shots': Flag(_counts, 'NUMBERS', 'examples of a class; default: 1,5,10,25'),
  'results': Flag(
    str, 'FILE', 'of JSON lines to add to; default: that of the run'
  ),
  'sweep': Flag(
    str,
    'GRID',
    'optimizer.learning_rate=0.01,0.03 (again for others); default: the recipe',
    repeats=True,
  ),
  'seeds': Flag(_count, 'NUMBER', 'final runs, for mean and deviation; or 1'),
  'suite': Flag(
    str, 'NAME', 'vtab, vtab_full or transfer: every data set of it'
  ),
  'held_out': Flag(
    _per_cent, 'PERCENT', 'of the training split to choose on; default: 10'
  ),
}

# What flags were called, and are now.
RENAMED = {'--drop': '--exclude', '--process': '--process_id'}
