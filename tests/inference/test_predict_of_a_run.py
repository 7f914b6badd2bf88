"""A run's images are prepared for `predict` exactly as for its `evaluate`."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vit_jax.cli import main
from vit_jax.config import schema
from vit_jax.data import batch as batches
from vit_jax.data import pipeline, sources
from vit_jax.evaluation import evaluate
from vit_jax.inference import predict
from vit_jax.training import train
from vit_jax.weights import loading, preprocessing

CROPS = ('stretch', 'central', 'letterbox')
CLASSES = ('left', 'right')
TURNED = {'quality': 95, 'exif': Image.Exif()}
TURNED['exif'][0x0112] = 6  # To be shown turned by 90 degrees.


def draw(number, label):
  """Returns 32 x 128 pixels whose class shows at one edge only."""
  noise = np.random.default_rng(number).integers(0, 60, (32, 128, 3))
  bright = slice(0, 16) if CLASSES[label] == 'left' else slice(-16, None)
  noise[:, bright] += 180
  return noise.astype(np.uint8)


def write(folder, turned=False):
  """Writes the data set: PNGs, or JPEGs that lie on their side."""
  for split, count in ('train', 16), ('test', 30):
    for label, name in enumerate(CLASSES):
      parent = folder / split / name
      parent.mkdir(parents=True)
      for number in range(count):
        image = Image.fromarray(draw(100 * count + number, label))
        if turned:
          image = image.transpose(Image.Transpose.ROTATE_90)
          image.save(parent / f'{number:02}.jpg', **TURNED)
        else:
          image.save(parent / f'{number:02}.png')


def make_config(folder):
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 32, 'depth': 1, 'num_heads': 2, 'mlp_dim': 32})
  config.data.source, config.data.dataset = 'folder', str(folder)
  config.data.eval_split = 'test'
  config.data.resolution = (16,)
  config.data.train_crop = config.data.eval_crop = 'stretch'
  config.data.flip = False
  config.optimizer.learning_rate = 3e-3
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 16
  config.run.num_steps = 60
  return config


def num_right(workdir, folder, tmp_path):
  """Returns how many test images `predict` puts into their class."""
  logits = tmp_path / 'logits.npy'
  arguments = (
    f'--checkpoint={workdir}',
    f'--input={folder / "test"}',
    f'--logits={logits}',
  )
  assert main.main(['predict', *arguments]) == 0
  label = np.repeat([0, 1], 30)  # The files are sorted.
  return int(np.sum(np.load(logits).argmax(-1) == label))


@pytest.mark.parametrize('turned', [False, True])
def test_predict_is_right_where_evaluate_is(tmp_path, turned):
  write(tmp_path / 'set', turned)
  config = make_config(tmp_path / 'set')
  config.data.exif_orientation = turned
  report = train.run(config, tmp_path / 'run')
  assert report['accuracy'] == 1  # 60 of 60.
  assert num_right(tmp_path / 'run', tmp_path / 'set', tmp_path) == 60
  exported = tmp_path / 'exported'
  convert = ['convert', str(tmp_path / 'run'), str(exported), '--to=orbax']
  assert main.main(convert) == 0
  assert num_right(exported, tmp_path / 'set', tmp_path) == 60


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run of one step, and its data set of JPEGs that lie on their side."""
  folder = tmp_path_factory.mktemp('run')
  write(folder / 'set', turned=True)
  config = make_config(folder / 'set')
  config.run.num_steps = 1
  train.run(config, folder / 'run')
  return folder / 'run'


@pytest.mark.parametrize('crop', CROPS)
@pytest.mark.parametrize('exif_orientation', [False, True])
@pytest.mark.parametrize('resize', ['auto', 'bicubic_antialiased'])
def test_pixels_are_those_of_evaluate(workdir, crop, exif_orientation, resize):
  folder = workdir.parent / 'set'
  data = make_config(folder).data
  data.eval_crop, data.exif_orientation = crop, exif_orientation
  data.resize = resize
  found = loading.find(str(workdir))
  found = dataclasses.replace(
    found,
    card=dataclasses.replace(
      found.card, preprocessing=preprocessing.of_data(data)
    ),
  )
  source = sources.build(data, 'test')
  (batch,) = pipeline.eval_batches(source, data, batch_size=len(source))
  wanted = batches.to_model_range(batch['image'])
  images = predict.open_images(str(folder / 'test'), found, None)
  pixels = np.concatenate([pixels for _, pixels, _ in images.batches()])
  # Sources and `predict` go through the files in the same order.
  np.testing.assert_array_equal(pixels[: len(source)], wanted)


def test_another_resolution_is_prepared_in_the_same_way(workdir):
  found = loading.find(str(workdir))
  images = predict.open_images(str(workdir.parent / 'set/test'), found, (8, 32))
  _, pixels, _ = next(images.batches())
  assert pixels.shape[1:] == (8, 32, 3)
  report = evaluate.run(checkpoint=str(workdir), resolution=(8, 32))
  assert report['num_examples'] == 60
