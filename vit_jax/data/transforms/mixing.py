"""Mixup, CutMix and random erasing of a batch, on the device.

Mixing turns labels into soft targets: batch['target'], float32 [batch,
classes], in which each row sums to 1. An example is mixed with the previous
row; where that one has no label, or is padding, it stays unchanged.
"""

import functools

import jax
import jax.numpy as jnp

from vit_jax.data.transforms import augmentations


def build(data, num_classes):
  """Returns mix(batch, rng), a pure function, or None: no mixing.

  Args:
    data: the part `data` of the configuration. If both mixup and CutMix are on,
      each gets half of the batches.
    num_classes: number of classes.
  """
  alpha = _mixup_alpha(data)
  mixers = []
  if alpha:
    mixers.append(functools.partial(mixup, alpha, num_classes))
  if data.cutmix:
    mixers.append(functools.partial(cutmix, data.cutmix, num_classes))
  if not mixers and not data.random_erasing:
    return None

  def mix(batch, rng):
    erase_rng, choice_rng, mix_rng = jax.random.split(rng, 3)
    if data.random_erasing:
      batch = erase(data.random_erasing, batch, erase_rng)
    if len(mixers) == 1:
      return mixers[0](batch, mix_rng)
    if mixers:
      choice = jax.random.bernoulli(choice_rng)
      return jax.lax.cond(choice, *mixers, batch, mix_rng)
    return batch

  return mix


def kinds(data):
  """Returns how images and targets are mixed: ('mixup 0.2', 'CutMix 1')."""
  alpha = _mixup_alpha(data)
  named = (('mixup', alpha), ('CutMix', data.cutmix))
  return tuple(f'{name} {value:g}' for name, value in named if value)


def _mixup_alpha(data):
  if data.mixup is None:
    return augmentations.get(data.augmentation).mixup
  return data.mixup


def mixup(alpha, num_classes, batch, rng):
  """Returns the batch with images and targets interpolated.

  Zhang et al. (2018), eq. 1. One fraction for the batch, Beta(alpha, alpha)
  and at least a half, as in the code of AugReg. Images become float32, in the
  same range.
  """
  fraction = jax.random.beta(rng, alpha, alpha)
  fraction = jnp.maximum(fraction, 1 - fraction)
  image = batch['image'].astype(jnp.float32)
  mixes = _mixes(batch)
  fractions = jnp.where(mixes, fraction, 1.0)  # [batch]
  weight = fractions[:, None, None, None]
  image = weight * image + (1 - weight) * jnp.roll(image, 1, axis=0)
  return _mixed(batch, image, fractions, num_classes)


def cutmix(alpha, num_classes, batch, rng):
  """Returns the batch with a rectangle of each image from the previous row.

  Yun et al. (2019), eq. 2. One rectangle for the batch, of the image's aspect;
  its area is the fraction 1 - Beta(alpha, alpha), less what lies outside.
  Images become float32, in the same range, as by mixup.
  """
  area_rng, box_rng = jax.random.split(rng)
  _, rows, columns, _ = batch['image'].shape
  side = jnp.sqrt(1 - jax.random.beta(area_rng, alpha, alpha))
  y, x = jax.random.uniform(box_rng, (2,))
  inside = _inside(y, side, rows)[:, None] & _inside(x, side, columns)[None]
  image = batch['image'].astype(jnp.float32)
  takes = inside[None] & _mixes(batch)[:, None, None]  # [batch, rows, columns]
  image = jnp.where(takes[..., None], jnp.roll(image, 1, axis=0), image)
  fractions = 1 - jnp.mean(takes.astype(jnp.float32), axis=(1, 2))
  return _mixed(batch, image, fractions, num_classes)


def erase(probability, batch, rng):
  """Returns the batch with rectangles of some images erased.

  They are filled with random values; areas and aspects as in `color.Erase`.
  """
  image = batch['image']
  size, rows, columns, _ = image.shape
  choice_rng, box_rng, fill_rng = jax.random.split(rng, 3)
  erased = jax.random.bernoulli(choice_rng, probability, (size,))
  area, aspect, y, x = jax.random.uniform(box_rng, (4, size))
  area = 0.02 + 0.38 * area
  # Relative to the image: of pixels, height is `aspect` columns per row.
  ratio = 0.3 ** (2 * aspect - 1) * rows / columns
  height = jnp.minimum(jnp.sqrt(area / ratio), 1)
  width = jnp.minimum(jnp.sqrt(area * ratio), 1)
  inside_rows = _between(y * (1 - height), height, rows)  # [batch, rows]
  inside_columns = _between(x * (1 - width), width, columns)
  inside = inside_rows[:, :, None] & inside_columns[:, None, :]
  inside &= erased[:, None, None]
  fill = jax.random.randint(fill_rng, image.shape, 0, 256).astype(image.dtype)
  return {**batch, 'image': jnp.where(inside[..., None], fill, image)}


def _mixes(batch):
  """Returns which rows, like their previous row, have labels, bool [batch]."""
  counts = batch['mask'] & (batch['label'] >= 0)
  return counts & jnp.roll(counts, 1)


def _mixed(batch, image, fractions, num_classes):
  """Returns the batch with image and target; own `fractions` are [batch]."""
  target = jax.nn.one_hot(batch['label'], num_classes)
  other = jnp.roll(target, 1, axis=0)
  target = fractions[:, None] * target + (1 - fractions)[:, None] * other
  counts = batch['mask'] & (batch['label'] >= 0)
  return {**batch, 'image': image, 'target': target, 'mask': counts}


def _inside(centre, side, length):
  """Returns which of `length` pixels an interval covers; in fractions of it."""
  pixel = (jnp.arange(length) + 0.5) / length
  return jnp.abs(pixel - centre) < side / 2


def _between(start, side, length):
  """Returns which of `length` pixels each interval covers, [batch, length]."""
  pixel = (jnp.arange(length)[None] + 0.5) / length
  return (pixel >= start[:, None]) & (pixel < (start + side)[:, None])
