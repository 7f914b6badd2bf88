"""A small real run of images in a folder, and runs of files written by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from vit_jax.config import recipes, schema
from vit_jax.training import train
from vit_jax.training.runtime import metrics_file, process_log, timings

# The names of classes and files are a stranger's.
CLASSES = ('<script>window.taken=1', 'a "quoted" & \'b\'', 'plain')


def configuration(folder, num_steps=4):
  config = schema.default()
  config.model.update(
    name='ViT-Ti/4', width=16, depth=1, num_heads=2, mlp_dim=16
  )
  config.data.update(
    source='folder',
    dataset=str(folder),
    resolution=(8,),
    train_crop='stretch',
    eval_crop='stretch',
    mixup=0.0,
    max_bad_fraction=0.5,
    train_split='train',
    eval_split='test',
  )
  config.optimizer.warmup_steps = 0
  config.run.update(
    batch_size=8, num_steps=num_steps, log_every=1, eval_every=2
  )
  config.run.peak_flops_per_device = 1e12
  config.mesh.data = 1
  return config


@pytest.fixture
def classes():
  return CLASSES


@pytest.fixture(scope='session')
def run(tmp_path_factory):
  """The folder of a finished run, whose log says that it was resumed."""
  data = tmp_path_factory.mktemp('data')
  workdir = tmp_path_factory.mktemp('of_a_run') / 'run'
  rng = np.random.default_rng(0)
  for split in 'train', 'test':
    for label, name in enumerate(CLASSES):
      (data / split / name).mkdir(parents=True)
      for number in range(4 + label):
        pixels = rng.integers(0, 256, (10, 12 + label, 3), np.uint8)
        Image.fromarray(pixels).save(data / split / name / f'{number}<b>.png')
  config = configuration(data)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train, '_plot', lambda *_: None)
    train.run(config, workdir)
  log = process_log.path(workdir, 0)
  lines = log.read_text().splitlines()
  start = lines[0].partition('vit_jax ')[0]
  lines.append(f'{start}WARNING: strange: <img src=x onerror=alert(1)>')
  log.write_text('\n'.join([*lines, f'{start}resumed at step 2', '']))
  (workdir / 'bad_examples.jsonl').write_text(
    json.dumps({'index': 1, 'where': '<i>a.png', 'problem': 'broken'}) + '\n'
  )
  return workdir


@pytest.fixture
def bare(tmp_path):
  """A run that has left its configuration alone: write(metrics, timings)."""
  workdir = tmp_path / 'bare'

  def write(records=(), timed=(), **fields):
    config = schema.default()
    config.run.num_steps = 10_000
    for name, value in fields.items():
      group, _, field = name.partition('__')
      config[group][field] = value
    recipes.save(config, workdir)
    for name, rows in (metrics_file.FILE, records), (timings.FILE, timed):
      if rows:
        text = '\n'.join(map(json.dumps, rows))
        (workdir / name).write_text(f'{text}\n')
    return workdir

  return write
