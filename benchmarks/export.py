"""Exports of every family in every format, against the jitted model.

  python benchmarks/export.py [--page=docs/export.md] [--models=ViT-S/16,...]

Parameters are random, which changes neither sizes nor times. Each row is the
largest difference from the model, the size of what was written, and the time of
an image in batches of eight, as the ratio to the jitted model; the two take
turns, and a result is the median over the turns. Formats whose packages are
not installed keep the rows that the page has.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np

import vit_jax
from vit_jax import errors
from vit_jax.inference import export, predict
from vit_jax.inference.export import checking
from vit_jax.inference.export import program as programs

MODELS = ('ViT-S/16', 'R26+ViT-S/32', 'BiT-R50x1', 'Mixer-S/32')
BATCH_SIZE = 8
BEGIN, END = '<!-- measured -->\n', '<!-- end -->'
HEAD = """\
| model | format | largest difference | MB | of the parameters | \
ms per image | jitted model, ms |
|---|---|---|---|---|---|---|
"""


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--page', type=pathlib.Path, help='Markdown to fill in')
  parser.add_argument('--models', default=','.join(MODELS))
  parser.add_argument('--formats', default=','.join(export.FORMATS))
  parser.add_argument('--turns', type=int, default=7)
  args = parser.parse_args()
  rows = {}
  for name in args.models.split(','):
    model = randomized(vit_jax.create_model(name))
    for to in args.formats.split(','):
      rows[name, to] = row(model, to, args.turns)
      print(rows[name, to], flush=True)
  if args.page:
    fill_in(args.page, rows)


def randomized(model):
  """Returns the model with a head that is not zero."""
  rng = np.random.default_rng(0)
  return model.replace(
    params=jax.tree.map(
      lambda leaf: (
        np.asarray(leaf) + 0.01 * rng.standard_normal(leaf.shape, np.float32)
      ),
      model.params,
    )
  )


def row(model, to, turns):
  """Returns the line of the table; a refusal is one, too."""
  name = model.card.model.name
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'model')
    try:
      said = model.export(path, to)
    except errors.UserError as error:
      return f'| {name} | {to} | {error} | | | | |\n'
    ours, exported = times(model, to, path, turns)
  size = sum(file['bytes'] for file in said['files'].values())
  parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
  return (
    f'| {name} | {to} | {said["largest_difference"]["from_the_model"]:.1e} | '
    f'{size / 1e6:.1f} | {size / parameters:.3f} | {exported:.1f} | '
    f'{ours:.1f} |\n'
  )


def times(model, to, path, turns):
  """Returns the median milliseconds per image, of the model and the export."""
  program = programs.build(
    model.params,
    model.card,
    model.image_size,
    output='probabilities',
    pixels='uint8',
  )
  call = export.FORMATS[to].load(path, program)
  images = checking.pictures(model.image_size, BATCH_SIZE)
  pixels = (images / 127.5 - 1).astype(np.float32)
  ways = (
    lambda: predict.forward(model.module, model.params, pixels),
    lambda: call(images),
  )
  found = ([], [])
  for turn in range(turns + 1):
    for way, seconds in zip(ways, found):
      start = time.perf_counter()
      way()
      if turn:  # The first compiles.
        seconds.append(time.perf_counter() - start)
  return [1e3 / BATCH_SIZE * statistics.median(each) for each in found]


def fill_in(page, rows):
  """Replaces the rows that were measured, and keeps the others."""
  text = page.read_text()
  before, _, rest = text.partition(BEGIN)
  table, _, after = rest.partition(END)
  kept = {}
  for line in table.splitlines(keepends=True)[HEAD.count('\n') :]:
    name, to = (cell.strip() for cell in line.split('|')[1:3])
    kept[name, to] = line
  kept |= rows
  page.write_text(before + BEGIN + HEAD + ''.join(kept.values()) + END + after)


if __name__ == '__main__':
  main()
