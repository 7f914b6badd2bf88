import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.config import schema
from vit_jax.data.transforms import mixing
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement

CLASSES = 7


@pytest.fixture
def data():
  return schema.default().data


@pytest.fixture
def batch():
  """Image i has the value 10 * i everywhere, and is of class i."""
  value = 10 * np.arange(CLASSES, dtype=np.uint8)
  image = np.broadcast_to(value[:, None, None, None], (CLASSES, 24, 36, 3))
  return {
    'image': jnp.array(image),
    'label': jnp.arange(CLASSES, dtype=jnp.int32),
    'mask': jnp.ones(CLASSES, bool),
  }


MIXERS = {
  'mixup': functools.partial(mixing.mixup, 0.8, CLASSES),
  'cutmix': functools.partial(mixing.cutmix, 0.8, CLASSES),
}


@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('seed', range(6))
def test_image_and_target_are_mixed_in_the_same_shares(batch, name, seed):
  mixed = MIXERS[name](batch, jax.random.key(seed))
  target = mixed['target']
  np.testing.assert_allclose(target.sum(-1), 1, atol=1e-6)
  assert (target > 0).sum(-1).max() <= 2
  # The mean value of an image is the mean of its classes' values.
  wanted = target @ (10.0 * jnp.arange(CLASSES))
  np.testing.assert_allclose(mixed['image'].mean((1, 2, 3)), wanted, atol=1e-3)
  share = np.diag(target)
  assert np.ptp(share) < 1e-6 and 0 <= share[0] <= 1
  np.testing.assert_allclose(
    np.diag(np.roll(target, 1, 1)), 1 - share, atol=1e-6
  )


def test_mixup_mixes_every_pixel_and_at_most_half(batch):
  shares = []
  for seed in range(50):
    mixed = MIXERS['mixup'](batch, jax.random.key(seed))
    assert np.ptp(mixed['image'], axis=(1, 2, 3)).max() < 1e-3
    shares.append(mixed['target'][0, 0])
  assert min(shares) >= 0.5 and min(shares) < 0.6 and max(shares) > 0.95


def test_cutmix_takes_a_rectangle_of_the_shape_of_the_image(batch):
  areas = []
  for seed in range(50):
    image = np.asarray(MIXERS['cutmix'](batch, jax.random.key(seed))['image'])
    taken = image[3] == 20
    assert np.isin(image[3], [20, 30]).all()
    rows, columns = np.nonzero(taken[..., 0])
    areas.append(len(rows) / (24 * 36))
    if len(rows):
      height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
      assert len(rows) == height * width
      inside = rows.min() > 0 and rows.max() < 23
      inside &= columns.min() > 0 and columns.max() < 35
      if inside:
        assert abs(height / 24 - width / 36) <= 1 / 12
  assert min(areas) < 0.1 and max(areas) > 0.7


@pytest.mark.parametrize('name', MIXERS)
def test_what_has_no_label_is_mixed_with_nothing(batch, name):
  batch['label'] = batch['label'].at[2].set(-1)
  batch['mask'] = batch['mask'].at[5].set(False)
  mixed = MIXERS[name](batch, jax.random.key(3))
  for row in 2, 3, 5, 6:  # Themselves, and the rows after them.
    np.testing.assert_array_equal(mixed['image'][row], batch['image'][row])
  np.testing.assert_array_equal(
    mixed['mask'], [True, True, False, True, True, False, True]
  )
  np.testing.assert_allclose(
    mixed['target'].sum(-1)[mixed['mask']], 1, atol=1e-6
  )
  assert mixed['target'][3, 3] == mixed['target'][6, 6] == 1


def test_erasing_fills_a_rectangle_of_a_share_of_the_images():
  image = jnp.zeros((400, 60, 80, 3), jnp.uint8)
  erased = mixing.erase(0.25, {'image': image}, jax.random.key(0))['image']
  assert erased.dtype == jnp.uint8
  changed = np.asarray(erased).any(-1)
  assert abs(changed.any((1, 2)).mean() - 0.25) < 0.07
  areas, aspects = [], []
  for one in changed[changed.any((1, 2))]:
    rows, columns = np.nonzero(one)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) > 0.95 * height * width  # A random pixel may be black.
    areas.append(height * width / 4800)
    if height < 60 and width < 80:
      aspects.append(width / height)
  assert min(areas) > 0.01 and max(areas) < 0.42
  assert min(aspects) > 0.25 and max(aspects) < 4
  values = np.asarray(erased)[changed]
  assert abs(values.mean() - 127.5) < 3 and values.min() == 0


def test_nothing_is_done_unless_it_is_asked_for(data):
  assert mixing.build(data, CLASSES) is None
  data.augmentation = 'light1'
  assert mixing.build(data, CLASSES) is None
  data.augmentation, data.mixup = 'strong2', 0.0
  assert mixing.build(data, CLASSES) is None


def test_an_augmentation_brings_its_mixup(data, batch, rng):
  data.augmentation = 'strong2'
  named = mixing.build(data, CLASSES)(batch, rng)
  data.augmentation, data.mixup = 'none', 0.8
  given = mixing.build(data, CLASSES)(batch, rng)
  np.testing.assert_array_equal(named['image'], given['image'])
  assert named['target'].max() < 1


def test_mixup_and_cutmix_take_turns(data, batch):
  data.mixup, data.cutmix = 0.8, 1.0
  mix = jax.jit(mixing.build(data, CLASSES))
  is_cut = []
  for seed in range(60):
    mixed = mix(batch, jax.random.key(seed))
    np.testing.assert_allclose(mixed['target'].sum(-1), 1, atol=1e-6)
    pixel = mixed['image'][4]
    is_cut.append(bool(np.isin(pixel, [30, 40]).all()))
  assert 15 < sum(is_cut) < 45


def test_erasing_alone_leaves_labels_as_they_are(data, batch, rng):
  data.random_erasing = 1.0
  mixed = mixing.build(data, CLASSES)(batch, rng)
  assert set(mixed) == set(batch)
  assert (mixed['image'] != batch['image']).any((1, 2, 3)).all()


def test_a_batch_is_mixed_alike_on_any_number_of_devices(data, rng):
  data.mixup, data.cutmix, data.random_erasing = 0.8, 1.0, 0.5
  mix = jax.jit(mixing.build(data, CLASSES))
  draw = np.random.default_rng(0)
  batch = {
    'image': draw.integers(0, 256, (16, 8, 8, 3), np.uint8),
    'label': draw.integers(0, CLASSES, 16).astype(np.int32),
    'mask': np.ones(16, bool),
  }
  config = schema.default()
  many = mix(placement.to_devices(batch, meshes.build(config.mesh)), rng)
  one = mix(jax.tree.map(jnp.asarray, batch), rng)
  for key in one:
    np.testing.assert_allclose(many[key], one[key], atol=1e-4, err_msg=key)
