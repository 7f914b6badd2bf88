"""The sample of predictions that a finished run shows."""

import types

import jax
import numpy as np
import pytest

from vit_jax.config import schema
from vit_jax.data.sources import arrays
from vit_jax.sharding import mesh as meshes
from vit_jax.training import plots, validation


class Watched(arrays.ArraySource):
  """A source that notes which examples are read, some of them broken."""

  def __post_init__(self):
    super().__post_init__()
    self.read, self.broken = [], ()

  def __getitem__(self, index):
    self.read.append(index)
    example = super().__getitem__(index)
    return {**example, 'image': b'broken'} if index in self.broken else example


@pytest.fixture
def source():
  """Images whose grey level is the class that is predicted for them."""
  rng = np.random.default_rng(0)
  label = rng.integers(-1, 10, 500)
  images = np.zeros((500, 4, 4, 3), np.uint8)
  images += rng.integers(0, 10, (500, 1, 1, 1), np.uint8)
  return Watched(images, label, num_classes=10)


@jax.jit
def predict(params, batch):
  """The logit of the grey level is `params`, and the others are 0."""
  grey = batch['image'][:, 0, 0, 0]
  return params * jax.nn.one_hot(grey, 10)


def drawn(source, count=40, **fields):
  config = schema.default()
  config.data.resolution, config.data.eval_crop = (4,), 'stretch'
  config.run.batch_size = fields.pop('batch_size', 16)
  config.update(fields)
  num_devices = 1 if config.run.batch_size % 8 else 8
  mesh = meshes.build(config.mesh, jax.devices()[:num_devices])
  components = types.SimpleNamespace(mesh=mesh)
  return validation.sample_predictions(
    config, components, predict, np.float32(2), source, count
  )


def test_a_sample_is_of_the_whole_split_and_only_it_is_read(source):
  sample = drawn(source)
  read = sorted(source.read)
  assert len(read) == 40 == len(set(read))
  assert max(read) > 400  # Not the first ones.
  np.testing.assert_array_equal(sample.image, source.images[read])
  np.testing.assert_array_equal(sample.label, source.labels[read])
  np.testing.assert_array_equal(sample.predicted, sample.image[:, 0, 0, 0])
  expected = np.exp(2) / (np.exp(2) + 9)
  np.testing.assert_allclose(sample.confidence, expected, rtol=1e-5)


@pytest.mark.parametrize('batch_size', [7, 64])
def test_a_sample_depends_on_the_seed_alone(source, batch_size):
  one, two = drawn(source), drawn(source, batch_size=batch_size)
  for ours, theirs in zip(one, two):
    np.testing.assert_array_equal(ours, theirs)
  other = drawn(source, seed=1)
  assert (other.image != one.image).any()


def test_a_small_split_is_shown_whole(source):
  assert len(drawn(source, count=500).label) == 500
  assert len(drawn(source, count=1000).label) == 500


def test_a_broken_image_is_left_out_of_the_sample(source):
  whole = drawn(source)
  source.broken = sorted(source.read)[3:5]
  rest = drawn(source)
  for ours, theirs in zip(rest, whole):
    np.testing.assert_array_equal(ours, np.delete(theirs, [3, 4], axis=0))


def test_a_sample_of_broken_images_alone_is_empty(source, tmp_path):
  source.broken = range(500)
  sample = drawn(source)
  assert len(sample.label) == 0
  plots.predictions(tmp_path / 'p.png', sample, 500)


def test_what_predicts_no_labels_has_no_sample(source):
  assert drawn(source, objective={'name': 'masked_patches'}) is None
