"""Masked-patch prediction on images small enough to see through."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vit_jax import errors, models
from vit_jax.config import schema
from vit_jax.training import objectives
from vit_jax.training.objectives import masked_patches

PATCH, SIDE = 4, 16
PATCHES = (SIDE // PATCH) ** 2


def build(**fields):
  config = schema.default()
  config.model.update(
    **{'name': f'ViT-Ti/{PATCH}', 'width': 16, 'depth': 1, 'num_heads': 2}
    | {'mlp_dim': 16}
    | fields
  )
  config.objective.name = 'masked_patches'
  return _build(config)


def _build(config):
  return objectives.build(
    config.objective,
    models.build(config.model, 10),
    num_classes=10,
    family=models.family(config.model.name),
  )


def batch_of(image, **changes):
  size = len(image)
  return {
    'image': image,
    'label': np.full(size, -1, np.int32),
    'mask': np.ones(size, bool),
    'index': np.arange(size, dtype=np.int32),
    **changes,
  }


def noise(size, seed=0):
  draw = np.random.default_rng(seed)
  return draw.integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8)


corrupt = jax.jit(masked_patches.corrupt, static_argnums=2)


@functools.cache
def begun():
  """Returns the objective and its first parameters."""
  objective = build()
  init = jax.jit(lambda rng: objective.init(rng, (SIDE, SIDE)))
  return objective, init(jax.random.key(0))


@functools.cache
def woken():
  """Returns the objective, and parameters whose head is not zero."""
  objective, params = begun()
  own = params['objective']
  kernel = np.random.default_rng(1).normal(size=own['head']['kernel'].shape)
  head = {**own['head'], 'kernel': kernel.astype(np.float32)}
  return objective, {**params, 'objective': {**own, 'head': head}}


@functools.cache
def _compiled():
  objective, _ = begun()

  def loss(image, params, batch, rng):
    return objective.loss(params, {**batch, 'image': image}, rng)

  return jax.jit(jax.value_and_grad(loss, has_aux=True)), jax.jit(
    objective.predict
  )


def differentiate(params, batch, rng):
  """Returns the loss, what is reported of it, and gradients of the pixels."""
  image = batch['image'].astype(np.float32)
  (loss, reported), grads = _compiled()[0](image, params, batch, rng)
  return float(loss), reported, np.asarray(grads)


def predict(params, batch):
  return jax.tree.map(np.asarray, _compiled()[1](params, batch))


# Colours --------------------------------------------------------------------


@pytest.mark.parametrize(
  'pixel, colour',
  [
    ((0, 0, 0), 0),
    ((31, 31, 31), 0),
    ((32, 0, 0), 64),
    ((0, 32, 0), 8),
    ((0, 0, 32), 1),
    ((255, 255, 255), 511),
    ((128, 96, 224), 4 * 64 + 3 * 8 + 7),
  ],
)
def test_a_colour_has_three_bits_of_each_channel(pixel, colour):
  image = np.tile(np.uint8(pixel), (1, PATCH, 2 * PATCH, 1))
  colours = masked_patches.mean_colours(image, PATCH)
  np.testing.assert_array_equal(colours, [[colour, colour]])


def test_the_colour_is_that_of_the_mean_of_its_patch_in_raster_order():
  image = noise(2)
  expected = [
    [
      int(level[0] * 64 + level[1] * 8 + level[2])
      for row in range(0, SIDE, PATCH)
      for column in range(0, SIDE, PATCH)
      for level in [
        one[row : row + PATCH, column : column + PATCH].mean((0, 1)) // 32
      ]
    ]
    for one in image
  ]
  np.testing.assert_array_equal(
    masked_patches.mean_colours(image, PATCH), expected
  )


# Corruption -----------------------------------------------------------------


NUM_IMAGES, NUM_PATCHES = 2000, 20


def drawn(seed=0, order=slice(None)):
  index = np.arange(NUM_IMAGES)[order]
  found = corrupt(jax.random.key(seed), index, NUM_PATCHES)
  return jax.tree.map(np.asarray, found)


def test_half_of_the_patches_are_corrupted_in_shares_of_80_10_and_10():
  found = drawn()
  moved = found.source != np.arange(NUM_PATCHES)
  np.testing.assert_array_equal(found.predicted.sum(1), 10)
  np.testing.assert_array_equal(found.masked.sum(1), 8)
  np.testing.assert_array_equal(moved.sum(1), 1)
  assert not (found.masked & moved).any()
  assert found.predicted[found.masked].all() and found.predicted[moved].all()
  # Each patch has its turn in half of the images, give or take 5 deviations.
  turns = found.predicted.sum(0)
  assert np.abs(turns - NUM_IMAGES / 2).max() < 5 * np.sqrt(NUM_IMAGES / 4)


def test_another_patch_is_any_other_of_the_same_image():
  source, own = drawn().source, np.arange(NUM_PATCHES)
  offset = ((source - own) % NUM_PATCHES)[source != own]
  others = np.arange(1, NUM_PATCHES)
  assert set(offset) == set(others)
  assert offset.std() == pytest.approx(others.std(), rel=0.1)


def test_the_corruption_depends_on_the_index_and_the_key_alone():
  order = np.random.default_rng(0).permutation(NUM_IMAGES)
  first, shuffled, other = drawn(), drawn(order=order), drawn(seed=1)
  np.testing.assert_array_equal(shuffled.masked, first.masked[order])
  np.testing.assert_array_equal(shuffled.source, first.source[order])
  assert len(np.unique(first.masked, axis=0)) > 0.9 * NUM_IMAGES
  assert (first.masked != other.masked).any()


def test_the_mask_token_and_other_patches_take_their_places():
  patches = jnp.arange(8.0).reshape(1, 4, 2)
  corruption = masked_patches.Corruption(
    masked=jnp.array([[True, False, False, False]]),
    source=jnp.array([[0, 3, 2, 3]]),
    predicted=jnp.array([[True, True, True, False]]),
  )
  token = jnp.array([[[-1.0, -2.0]]])
  np.testing.assert_array_equal(
    corruption.apply(patches, token), [[[-1, -2], [6, 7], [4, 5], [6, 7]]]
  )


# Loss -----------------------------------------------------------------------


def test_the_loss_begins_at_the_logarithm_of_the_number_of_colours():
  _, params = begun()
  loss, reported, _ = differentiate(
    params, batch_of(noise(4)), jax.random.key(1)
  )
  assert loss == pytest.approx(np.log(512), rel=1e-5)
  assert float(reported['loss'].count) == 4 * PATCHES / 2
  assert set(params) >= {'objective', 'encoder', 'stem'}
  assert set(params['objective']) == {'mask_token', 'head'}


def test_nothing_leaks_from_masked_patches():
  _, params = woken()
  batch, rng = batch_of(noise(4)), jax.random.key(3)
  _, _, grads = differentiate(params, batch, rng)
  grads = grads.reshape(4, SIDE // PATCH, PATCH, SIDE // PATCH, PATCH, 3)
  moves_loss = np.abs(grads).sum((2, 4, 5)).reshape(4, PATCHES) > 0
  found = corrupt(jax.random.split(rng)[0], batch['index'], PATCHES)
  # What is masked may still stand in for another patch.
  is_seen = np.zeros((4, PATCHES), bool)
  for image in range(4):
    source = np.asarray(found.source[image])
    is_seen[image, source[~np.asarray(found.masked[image])]] = True
  np.testing.assert_array_equal(moves_loss, is_seen)
  assert (~is_seen).sum() >= 16


def test_what_is_predicted_is_of_its_own_patch():
  _, params = woken()
  block = params['encoder']['block_0']
  silent = jax.tree.map(np.zeros_like, block['attention']['out'])
  attention = {**block['attention'], 'out': silent}  # Each for itself.
  encoder = {**params['encoder'], 'block_0': {**block, 'attention': attention}}
  found = corrupt(jax.random.key(0), np.zeros(4, np.int32), PATCHES)
  source, masked = np.asarray(found.source[0]), np.asarray(found.masked[0])
  users = [np.flatnonzero((source == i) & ~masked) for i in range(PATCHES)]
  once = [i for i in range(PATCHES) if users[i].tolist() == [i]][1:4]
  image = np.repeat(noise(1), 4, axis=0)
  for row, patch in enumerate(once, 1):
    y, x = PATCH * (patch // 4), PATCH * (patch % 4)
    image[row, y : y + PATCH, x : x + PATCH] ^= 255
  batch = batch_of(image, index=np.zeros(4, np.int32))
  loss = predict({**params, 'encoder': encoder}, batch).loss
  for row, patch in enumerate(once, 1):
    (moved,) = np.nonzero(np.abs(loss[row] - loss[0]) > 1e-3)
    np.testing.assert_array_equal(moved, [patch])


def test_padding_counts_for_nothing():
  _, params = woken()
  batch, rng = batch_of(noise(4)), jax.random.key(5)
  batch['mask'] = np.array([True, True, False, False])
  loss, reported, _ = differentiate(params, batch, rng)
  blank = batch['image'] * batch['mask'][:, None, None, None]
  other, _, _ = differentiate(params, {**batch, 'image': blank}, rng)
  assert loss == pytest.approx(other, rel=1e-6)
  assert float(reported['accuracy'].count) == 2 * PATCHES / 2


def test_what_is_held_out_is_measured_alike_in_any_order():
  _, params = woken()
  batch = batch_of(noise(4))
  whole = predict(params, batch)
  order = np.array([2, 0, 3, 1])
  shuffled = predict(params, {key: batch[key][order] for key in batch})
  np.testing.assert_allclose(shuffled.loss, whole.loss[order], rtol=1e-4)
  np.testing.assert_array_equal(shuffled.counted, whole.counted[order])


def test_a_model_learns_the_colours_of_images_of_one_colour():
  objective, params = begun()
  draw = np.random.default_rng(0)
  colours = draw.choice([0, 80, 160, 240], (64, 1, 1, 3))
  batch = batch_of(np.broadcast_to(colours, (64, SIDE, SIDE, 3)).astype('u1'))
  optimizer = optax.adam(1e-2)

  def step(carry, number):
    params, state = carry
    rng = jax.random.fold_in(jax.random.key(1), number)
    (loss, reported), grads = jax.value_and_grad(objective.loss, has_aux=True)(
      params, batch, rng
    )
    updates, state = optimizer.update(grads, state)
    return (optax.apply_updates(params, updates), state), (loss, reported)

  @jax.jit
  def train(params):
    carry = (params, optimizer.init(params))
    return jax.lax.scan(step, carry, jnp.arange(200))[1]

  losses, reported = train(params)
  assert losses[-1] < 0.5 < 6 < losses[0]
  # Patches that are masked can be told by the others, which are not.
  mean = reported['accuracy']
  assert mean.total[-1] / mean.count[-1] > 0.9


# What does not fit ----------------------------------------------------------


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'name': 'R26+ViT-S/32'}, 'needs a plain ViT.* not a hybrid'),
    ({'head': 'pre_logits'}, 'model.head=pre_logits does not fit'),
  ],
)
def test_a_model_that_does_not_fit_is_refused(fields, message):
  with pytest.raises(errors.UserError, match=message):
    build(**fields)


def test_a_mixer_is_refused():
  config = schema.default()
  config.model.name, config.objective.name = 'Mixer-S/16', 'masked_patches'
  with pytest.raises(errors.UserError, match='not a Mixer'):
    _build(config)
