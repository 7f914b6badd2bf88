"""Inference speed, and the largest batch that fits (ViT paper, figure 12).

On one device of any kind; the paper uses a TPUv3 core.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vit_jax import models
from vit_jax.config import model_names, schema
from vit_jax.sharding import mesh as meshes

MODELS = (
  'ViT-B/32',
  'ViT-B/16',
  'ViT-L/32',
  'ViT-L/16',
  'ViT-H/14',
  'R50+ViT-B/32',
  'BiT-R50x1',
  'BiT-R152x2',
)
SIDES = (64, 128, 224, 384, 512)  # In pixels.
LARGEST = {'cpu': 8}  # Batch to try, where memory would set no limit.
_LARGEST = 8192


class Speed(NamedTuple):
  """Of one model at one size.

  images_per_second: of the fastest batch.
  largest_batch: of the powers of two that were tried, the last that fitted.
  """

  images_per_second: float
  largest_batch: int


def table(names=MODELS, sides=SIDES, largest=None, seconds=2.0):
  """Returns a Markdown table of all models and sizes, measured now.

  Args:
    names: of models.
    sides: of square images, in pixels; rounded down to a multiple of the patch
      size.
    largest: batch to try; None: by device.
    seconds: minimum time to run each batch.
  """
  device = meshes.devices()[0]
  largest = largest or LARGEST.get(device.platform, _LARGEST)
  lines = [
    f'{device.device_kind}, JAX {jax.__version__}, bfloat16; '
    f'batches up to {largest}',
    '',
    '| model | pixels | images per second | largest batch |',
    '|---|---|---|---|',
  ]
  for name in names:
    for side in sides:
      patch = model_names.patch_size(name) or 1
      side = side // patch * patch
      found = measure(name, side, largest, seconds, device.platform)
      lines.append(
        f'| {name} | {side} | {found.images_per_second:.1f} | '
        f'{found.largest_batch} |'
      )
  return '\n'.join(lines) + '\n'


def measure(name, side, largest, seconds, platform):
  """Returns the `Speed` of a model on images of side x side pixels."""
  model = schema.default().model
  model.update(name=name, dtype='bfloat16')
  module = models.build(model, num_classes=1000, platform=platform)
  params = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
    models.params_of(module, (side, side)),
  )

  @jax.jit
  def predict(params, images):
    return module.apply({'params': params}, images, train=False).logits

  best, batch_size = Speed(0.0, 0), 1
  while batch_size <= largest:
    images = jnp.zeros([batch_size, side, side, 3], jnp.bfloat16)
    try:
      rate = _rate(predict, params, images, seconds)
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      break
    best = Speed(max(best.images_per_second, rate), batch_size)
    batch_size *= 2
  return best


def _rate(predict, params, images, seconds):
  """Returns images per second, without compilation."""
  jax.block_until_ready(predict(params, images))
  start, count, elapsed = time.perf_counter(), 0, 0.0
  while not count or elapsed < seconds:
    jax.block_until_ready(predict(params, images))
    count += len(images)
    elapsed = time.perf_counter() - start
  return count / elapsed
