"""Draws docs/pictures/attention.png: where a small ViT attends.

  python docs/pictures/attention.py workdir/roundels

docs/analysis.md has the command that trains the model.
"""

import pathlib
import sys
import tempfile

import numpy as np
from matplotlib import pyplot
from PIL import Image

from vit_jax.analysis import analyze
from vit_jax.config import recipes
from vit_jax.data import sources

COUNT = 8  # Of images: one of every third class.
PICTURE = pathlib.Path(__file__).with_suffix('.png')


def main(workdir):
  config = recipes.load(f'{workdir}/config.json')
  images = sources.build(config.data, 'test[:24]')
  with tempfile.TemporaryDirectory() as folder:
    photos = pathlib.Path(folder, 'photos')
    photos.mkdir()
    for number in range(COUNT):
      pixels = images[3 * number]['image']
      Image.fromarray(pixels).save(photos / f'{number}.png')
    analyze.run('rollout', workdir, folder, str(photos))
    maps = np.load(f'{folder}/rollout.npz')['rollout']
  figure, axes = pyplot.subplots(
    2, COUNT, figsize=(9.6, 2.5), layout='constrained'
  )
  for number, (above, below) in enumerate(axes.T):
    above.imshow(images[3 * number]['image'])
    below.imshow(maps[number], cmap='inferno', interpolation='bicubic')
    above.set_axis_off()
    below.set_axis_off()
  figure.savefig(PICTURE, dpi=100)


if __name__ == '__main__':
  main(sys.argv[1])
