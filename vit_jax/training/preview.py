"""A preview of the training data: the first batch as the model will see it."""

import jax
import numpy as np

from vit_jax.config import schema
from vit_jax.data import pipeline, sources
from vit_jax.data.transforms import mixing
from vit_jax.evaluation import drawing
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, train_step


def run(config, output):
  """Plots images of the first batch, cropped, augmented and mixed.

  Args:
    config: what `recipes.load` returns.
    output: path of the PNG.

  Returns:
    The path of the plot.

  Raises:
    UserError: the configuration is invalid, or the data cannot be read.
  """
  assembly.validate(config, len(meshes.devices()))
  source = sources.build(config.data, config.data.train_split)
  batch = first_batch(config, source)
  shown = {key: batch[key][: drawing.MAX_IMAGES] for key in batch}
  captions = [_caption(row, source.class_names) for row in _targets(shown)]
  images = np.rint(shown['image']).astype(np.uint8)
  return drawing.grid(output, images, captions, _title(config))


def first_batch(config, source):
  """Returns global batch 0 as the objective receives it in the first step."""
  batches = pipeline.train_batches(
    source, config.data, batch_size=config.run.batch_size, seed=config.seed
  )
  batch = next(batches)
  batches.close()
  mix = mixing.build(config.data, source.num_classes)
  if mix is None:
    return batch
  _, state_rng = train_step.init_rngs(jax.random.key(config.seed))
  mix_rng, _ = train_step.step_rngs(state_rng, 0, mixes=True)
  index = batch.pop('index')  # Of 64 bits, and mixed with nothing.
  return {**jax.device_get(jax.jit(mix)(batch, mix_rng)), 'index': index}


def _targets(batch):
  """Yields [(class, fraction)] of each image, the largest fraction first."""
  if 'target' not in batch:
    for label in batch['label']:
      yield [(label, 1.0)] if label >= 0 else []
    return
  for target in batch['target']:
    order = np.argsort(-target, kind='stable')
    yield [(index, target[index]) for index in order if target[index] > 0]


def _caption(fractions, class_names):
  names = [drawing.class_name(index, class_names) for index, _ in fractions]
  if len(names) < 2:
    return ''.join(names)
  return '\n'.join(
    f'{fraction:.0%} {name}' for name, (_, fraction) in zip(names, fractions)
  )


def _title(config):
  data = config.data
  rows, columns = schema.image_size(data)
  return (
    f'{data.dataset} {data.train_split}, batch 0: {data.train_crop} crop to '
    f'{rows} x {columns}, augmentation {data.augmentation}'
  )
