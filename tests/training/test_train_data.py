"""A whole run as its data meet it: broken, augmented, changed on the way."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

import vit_jax
from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import bad_examples
from vit_jax.evaluation import evaluate
from vit_jax.training import train
from vit_jax.training.runtime import log

pytestmark = pytest.mark.usefixtures('compiled_in_less_time')

ROOT = pathlib.Path(vit_jax.__file__).parents[1]


@pytest.fixture
def folder(tmp_path):
  """Dark and bright images: 24 to train and 10 to evaluate on, each PNG."""
  draw = np.random.default_rng(0)
  for split, count in ('train', 12), ('test', 5):
    for label, name in enumerate(('dark', 'bright')):
      parent = tmp_path / 'set' / split / name
      parent.mkdir(parents=True)
      for number in range(count):
        noise = draw.integers(0, 120, (8, 8, 3)) + 120 * label
        path = parent / f'{number:02}.png'
        Image.fromarray(noise.astype(np.uint8)).save(path)
  return tmp_path / 'set'


@pytest.fixture
def config(folder):
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 16, 'depth': 1, 'num_heads': 1, 'mlp_dim': 16})
  config.data.source, config.data.dataset = 'folder', str(folder)
  config.data.eval_split = 'test'
  config.data.resolution = (8,)
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 8
  config.run.num_steps = 4
  config.run.log_every = 1
  return config


def test_bad_images_are_left_out_and_listed_in_the_workdir(
  config, folder, tmp_path
):
  broken = [folder / 'train/dark/07.png', folder / 'test/bright/02.png']
  for path in broken:
    path.write_bytes(path.read_bytes()[:40])
  config.data.max_bad_fraction = 0.1
  report = train.run(config, tmp_path / 'run')
  assert report['num_examples'] == 9
  lines = bad_examples.path(tmp_path / 'run', 0).read_text().splitlines()
  assert [json.loads(line)['where'] for line in lines] == list(map(str, broken))
  assert evaluate.run(tmp_path / 'run') == report


def test_too_many_bad_images_end_the_run(config, folder, tmp_path):
  (folder / 'train/dark/07.png').write_bytes(b'')
  with pytest.raises(
    errors.UserError, match=r'07\.png: Not an image.* 1 bad of 24 .*jsonl lists'
  ):
    train.run(config, tmp_path / 'run')


def test_a_mixed_run_has_soft_targets_and_ends_with_numbers(config, tmp_path):
  config.data.augmentation = 'strong2'
  config.data.cutmix, config.data.random_erasing = 1.0, 0.3
  config.data.repeated_augmentation = 2
  report = train.run(config, tmp_path / 'run')
  lines = log.read_metrics(tmp_path / 'run')
  losses = [line['loss'] for line in lines if line['split'] == 'train']
  assert len(losses) == 4 and np.isfinite(losses).all()
  assert report['num_examples'] == 10 and np.isfinite(report['loss'])


def test_other_data_are_refused_where_a_run_goes_on(config, folder, tmp_path):
  train.run(config, tmp_path / 'run')
  path = folder / 'train/dark/07.png'
  path.rename(path.with_name('99.png'))  # As many as before.
  with pytest.raises(errors.UserError, match=r'(?s)data have changed.*fingerp'):
    train.run(config, tmp_path / 'run')


def test_neither_training_nor_evaluation_imports_tensorflow(config, tmp_path):
  # A stand-in tells, whether or not the real one is installed.
  (tmp_path / 'tensorflow').mkdir()
  (tmp_path / 'tensorflow/__init__.py').write_text(
    'import traceback; traceback.print_stack(); raise ImportError'
  )
  code = f"""
    from vit_jax.config import recipes
    from vit_jax.evaluation import evaluate
    from vit_jax.training import train

    config = recipes.load({str(tmp_path / 'config.json')!r})
    report = train.run(config, {str(tmp_path / 'run')!r})
    assert evaluate.run({str(tmp_path / 'run')!r}) == report
    print('done')
  """
  config.data.source, config.data.dataset = 'tfds', 'digits'
  config.data.data_dir = str(tmp_path / 'tfds')
  config.run.num_steps = 1
  (tmp_path / 'config.json').write_text(json.dumps(config.to_dict()))
  result = subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)],
    cwd=ROOT,
    env={
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}',
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout.endswith('done\n'), result.stderr
  assert str(tmp_path / 'tensorflow') not in result.stderr, result.stderr
