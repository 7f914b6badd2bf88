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
  ),
  'output': Flag(
    paths.expand,
    'PATH',
    'the PNG to write; for `report` the HTML page, for `analyze` and '
    "`evaluate` a folder of figures (default: the run's)",
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
    'catalogue name (augreg/B_16), URL, file, run directory or RUN:best',
  ),
  'input': Flag(
    paths.expand, 'IMAGES', 'an image, a folder, or pixels as .npy'
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
  ),
  'top': Flag(_count, 'NUMBER', 'classes to print per image; default: 5'),
  'logits': Flag(paths.expand, 'FILE', '.npy to write, [images, classes]'),
  'features': Flag(paths.expand, 'FILE', '.npy to write, [images, width]'),
  'source': Flag(
    paths.expand,
    'WEIGHTS',
    'catalogue name, URL, file, run directory or RUN:best',
  ),
  'target': Flag(
    paths.expand, 'PATH', 'a file to create; for some formats a folder'
  ),
  'to': Flag(
    str,
    'FORMAT',
    'google, big_vision, huggingface, timm or orbax; for `export`, stablehlo, '
    'onnx or savedmodel',
  ),
  'returns': Flag(str, 'OUTPUT', 'probabilities (default), logits or features'),
  'pixels': Flag(
    str, 'DTYPE', 'of the input: uint8, 0 to 255 (default), or float32, -1 to 1'
  ),
  'dtype': Flag(
    str,
    'DTYPE',
    'to compute in, float32 or bfloat16; default: that of the model',
  ),
  'from': Flag(str, 'FORMAT', 'of the source; default: inferred'),
  'exclude': Flag(str, 'PATTERN', "of parameters to leave out, e.g. 'head.*'"),
  'topology': Flag(
    str, 'CHIPS', 'v5p:8x8x8, h100:64, or a number of CPU devices'
  ),
  'mesh': Flag(_auto, 'auto', 'search for the cheapest mesh that fits'),
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
    _names, 'NAMES', 'classification (default), per_class, real, fewshot, knn'
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
  'seeds': Flag(
    _count, 'NUMBER', 'of final runs, for mean and std; default: 1'
  ),
  'suite': Flag(
    str, 'NAME', 'vtab, vtab_full or transfer: run all its data sets'
  ),
  'held_out': Flag(
    _per_cent,
    'PERCENT',
    "of the training split to validate on; default: the paper's, or 10",
  ),
}

# Former names of flags: present ones.
RENAMED = {'--drop': '--exclude', '--process': '--process_id'}
