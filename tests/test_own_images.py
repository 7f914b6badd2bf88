"""The README's commands for people's own images, word for word.

On a folder of JPEGs, with a file of random weights where the released one is
kept once it has been fetched.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.weights import card as cards
from vit_jax.weights import catalog, formats, mapping
from vit_jax.weights.files import download, npz

ROOT = pathlib.Path(__file__).parents[1]
COLORS = {
  'blau & grün': (20, 160, 150),
  'red car': (220, 30, 20),
  'Δ delta': (120, 110, 20),
}
NUM_IMAGES = 6  # Of each class.


def commands():
  """Returns {name: arguments} of the section's code."""
  text = (ROOT / 'README.md').read_text()
  section = text.partition('## Your own images\n')[2].partition('\n## ')[0]
  lines = re.findall(r'^    vit_jax (.*)$', section, re.M)
  return {line.split()[0]: shlex.split(line) for line in lines}


def write_weights(home):
  """Writes random weights where `augreg/Ti_16` is kept."""
  entry = catalog.get('augreg/Ti_16')
  config = schema.default().model
  config.name = entry.model
  model = models.build(config, entry.num_classes)
  shapes = models.params_of(model, (entry.resolution, entry.resolution))
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    scale = 1.0 if path.endswith('scale') else 0.0
    noise = rng.standard_normal(leaf.shape, np.float32)
    return scale + 0.02 * noise

  flat = {p: draw(p, leaf) for p, leaf in pytrees.flatten(shapes).items()}
  rows = formats.writer(entry.model, entry.format).rows(flat)
  path = download.path_of(entry.address, home / '.cache/vit_jax')
  path.parent.mkdir(parents=True)
  npz.save(path, mapping.to_theirs(flat, rows))


def write_images(home):
  rng = np.random.default_rng(0)
  orientation = Image.Exif()
  orientation[0x0112] = 6
  for name, color in COLORS.items():
    (home / 'flowers' / name).mkdir(parents=True)
    for number in range(NUM_IMAGES):
      noise = rng.integers(-20, 20, (90, 120, 3))
      pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
      suffix = ('.jpg', '.JPEG', '.jpe')[number % 3]
      path = home / 'flowers' / name / f'IMG {number:03}{suffix}'
      options = {'exif': orientation} if number % 5 == 0 else {}
      Image.fromarray(pixels).save(path, 'JPEG', quality=90, **options)
  (home / 'flowers/.DS_Store').write_bytes(b'\0' * 10)
  (home / 'flowers/red car/Thumbs.db').write_bytes(b'\0' * 10)
  (home / 'photos').mkdir()
  for number, color in enumerate(COLORS.values()):
    Image.new('RGB', (150, 100), color).save(home / f'photos/{number}.png')


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """(the folder, {command: its finished process}), all as in the README."""
  home = tmp_path_factory.mktemp('home')
  write_weights(home)
  write_images(home)
  environment = {
    **os.environ,
    'HOME': str(home),
    'PYTHONPATH': str(ROOT),
    'JAX_PLATFORMS': 'cpu',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': 'false',  # It computes for a minute.
    'XLA_FLAGS': '',  # One device, as most people have.
    'JAX_COMPILATION_CACHE_DIR': str(
      jax.config.jax_compilation_cache_dir or home / 'compiled'
    ),
  }
  done = {}
  for name, arguments in commands().items():
    done[name] = subprocess.run(
      [sys.executable, '-m', 'vit_jax.cli', *arguments],
      cwd=home,
      env=environment,
      capture_output=True,
      text=True,
      timeout=1800,
    )
    assert done[name].returncode == 0, done[name].stderr
  return home, done


def test_the_section_has_the_four_commands_that_the_page_begins_with():
  assert list(commands()) == ['train', 'evaluate', 'predict', 'convert']
  page = (ROOT / 'docs/own_images.md').read_text().partition('\n## ')[0]
  lines = re.findall(r'^    vit_jax (.*)$', page, re.M)
  assert [*map(shlex.split, lines)] == [*commands().values()]


def test_the_recipe_says_what_it_chose(results):
  _, done = results
  said = done['train'].stderr
  assert 'images of 3 classes to train on' in said
  assert 'ViT-Ti/16 from augreg/Ti_16, 224 px, float32' in said
  assert 'ETA' in said


def test_the_training_has_learnt(results):
  home, done = results
  card = cards.read(home / 'run', schema.default().model)
  assert card.class_names == tuple(sorted(COLORS))
  assert card.preprocessing.exif_orientation
  accuracy = re.search(r'^accuracy +(\S+)$', done['evaluate'].stdout, re.M)
  assert float(accuracy[1]) > 0.9


def test_images_are_called_by_their_classes(results):
  _, done = results
  lines = done['predict'].stdout.splitlines()
  best = [re.sub(r'^ +\S+ +', '', line) for line in lines[1::4]]
  assert best == list(COLORS)


def test_timm_is_told_of_classes_and_pixels(results):
  home, _ = results
  config = json.loads((home / 'for_timm/config.json').read_text())
  assert config['label_names'] == sorted(COLORS)
  assert config['pretrained_cfg']['crop_mode'] == 'squash'
  assert config['pretrained_cfg']['interpolation'] == 'bilinear'
