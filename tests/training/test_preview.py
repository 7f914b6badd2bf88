import jax
import numpy as np
import optax
import PIL.Image
import pytest

from vit_jax.config import schema
from vit_jax.data import pipeline, sources
from vit_jax.data.transforms import mixing
from vit_jax.evaluation import drawing
from vit_jax.training import preview, train_step


@pytest.fixture
def config():
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.data.source, config.data.num_classes = 'synthetic', 5
  config.data.resolution = (8,)
  config.run.batch_size = 16
  config.run.num_epochs = 20.0
  config.optimizer.warmup_steps = 0
  return config


@pytest.fixture
def drawn(monkeypatch):
  """Records what is drawn."""
  drawn = {}

  def grid(path, images, captions, title):
    drawn.update(images=images, captions=captions, title=title)

  monkeypatch.setattr(drawing, 'grid', grid)
  return drawn


def test_a_picture_is_written(config, tmp_path):
  path = preview.run(config, tmp_path / 'batch.png')
  assert PIL.Image.open(path).size[0] > 1000


def test_without_mixing_the_batch_is_that_of_the_pipeline(config, drawn):
  config.data.augmentation = 'light1'
  preview.run(config, 'batch.png')
  source = sources.build(config.data, 'train')
  batch = next(
    pipeline.train_batches(source, config.data, batch_size=16, seed=0)
  )
  np.testing.assert_array_equal(drawn['images'], batch['image'])
  assert drawn['captions'] == [str(label) for label in batch['label']]
  assert 'light1' in drawn['title'] and '8 x 8' in drawn['title']


def test_what_is_shown_is_what_the_first_step_gets(config):
  config.data.mixup = config.data.cutmix = config.data.random_erasing = 0.5
  config.seed = 3
  source = sources.build(config.data, 'train')
  shown = preview.first_batch(config, source)

  class Recorder:
    """An objective whose metrics are its batch."""

    def init(self, rng, image_size):
      return {'x': np.float32(0)}

    def loss(self, params, batch, rng):
      return 0.0 * params['x'], {key: batch[key] for key in ('image', 'target')}

  objective, mix = Recorder(), mixing.build(config.data, 5)
  optimizer = optax.sgd(0.1)
  init = train_step.make_init(objective, optimizer, (8, 8))
  batches = pipeline.train_batches(source, config.data, batch_size=16, seed=3)
  batch = next(batches)
  batch.pop('index')
  step = jax.jit(train_step.make_train_step(objective, optimizer, mix=mix))
  _, seen = step(init(jax.random.key(3)), batch)
  np.testing.assert_allclose(shown['image'], seen['image'], atol=1e-3)
  np.testing.assert_allclose(shown['target'], seen['target'], atol=1e-6)


def test_captions_tell_the_shares_of_classes(config, drawn):
  config.data.mixup = 5.0
  preview.run(config, 'batch.png')
  shares = [
    [int(line.partition('%')[0]) for line in caption.splitlines()]
    for caption in drawn['captions']
    if '\n' in caption
  ]
  assert len(shares) > 5
  assert all(len(pair) == 2 and abs(sum(pair) - 100) <= 1 for pair in shares)
  assert all(pair[0] >= pair[1] for pair in shares)


def test_an_image_without_a_label_has_no_caption():
  batch = {'label': np.array([-1, 2])}
  captions = [preview._caption(row, None) for row in preview._targets(batch)]
  assert captions == ['', '2']
