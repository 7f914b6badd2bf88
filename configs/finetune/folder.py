"""Fine-tuning released weights on a folder of one's own images.

  vit_jax train --config=finetune/folder.py:data=/data/flowers \\
    --workdir=/data/run

The folder holds <split>/<class>/<image>, or <class>/<image>, of which a part is
held out. Weights are AugReg's from ImageNet-21k (Steiner et al., 2022): B/16
where there is an accelerator, else Ti/16; `variant` is another of theirs, and
`init` whatever `vit_jax predict` takes as --checkpoint, or none.

SGD as in the ViT paper, table 4. What depends on the number of images are our
own choices: 8 batches an epoch or more, of 8 to 512 images; 30 epochs up to
20,000 images, then 10, but no less than 50 steps; the learning rate of the
paper's batch of 512, times the root of the ratio of batches. Images are seen
whole, turned as their EXIF data say. The training ends where 10 evaluations in
a row have not been better than the best, whose checkpoint is kept.
"""

import glob
import importlib.util
import math
import os
import sys

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data.sources import folder
from vit_jax.weights import catalog, loading

RATES = (0.001, 0.003, 0.01, 0.03)  # For batches of 512.
NUM_EVALUATIONS = 20


def get_grid():
  """Returns the grid of `vit_jax sweep`."""
  return {'optimizer.learning_rate': RATES}


def get_config(data, variant='', init='', resolution=224, epochs=0.0):
  accelerated = _has_accelerator()
  variant = variant or ('B/16' if accelerated else 'Ti/16')
  init = init or f'augreg/{variant.replace("/", "_")}'
  found = folder.summary(data)
  num_train, num_test = found.splits.values()

  config = schema.default()
  if init == 'none':
    config.model.name = f'ViT-{variant}'
  else:
    config.init = init
    config.model = _model_of(init)
    config.model.head = 'linear'
  config.model.dtype = 'bfloat16' if accelerated else 'float32'

  config.data.source, config.data.dataset = 'folder', data
  config.data.train_split, config.data.eval_split = found.splits
  config.data.resolution = (resolution,)
  config.data.min_crop_area = 0.25
  config.data.eval_crop = 'stretch'
  config.data.resize = 'bilinear_antialiased'  # Photographs shrink a lot.
  config.data.exif_orientation = True
  config.data.max_bad_fraction = 0.05  # One broken file may be a large part.

  config.run.batch_size = _batch_size(num_train)
  config.run.num_steps = _num_steps(num_train, config.run.batch_size, epochs)
  config.run.log_every = max(1, config.run.num_steps // 50)
  config.run.eval_every = max(1, config.run.num_steps // NUM_EVALUATIONS)
  config.run.checkpoint_every = config.run.eval_every
  config.run.keep_best = True
  config.run.patience = 10

  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.01 * (config.run.batch_size / 512) ** 0.5
  config.optimizer.warmup_steps = config.run.num_steps // 10
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = 1.0

  num_epochs = config.run.num_steps * config.run.batch_size / num_train
  print(
    f'{data}: {num_train:,} images of {found.num_classes} classes to train on, '
    f'{num_test:,} to measure on. {config.model.name} from {init}, '
    f'{resolution} px, {config.model.dtype}; {config.run.num_steps:,} steps of '
    f'{config.run.batch_size} images ({num_epochs:.1f} epochs), learning rate '
    f'{config.optimizer.learning_rate:.3g} after '
    f'{config.optimizer.warmup_steps} steps; the first steps tell how long it '
    'will take (ETA).',
    file=sys.stderr,
  )
  return config


def _model_of(init):
  """Returns the part `model` of weights; those of the catalogue stay unread."""
  if not catalog.has_family_of(init) or os.path.exists(init):
    return loading.find(init).model
  entry = catalog.get(init)
  if entry.model is None:
    return loading.find(init).model
  model = schema.default().model
  model.update(name=entry.model, **dict(entry.fields))
  return model


def _batch_size(num_images):
  """Returns a power of two, 8 to 512, at most an eighth of the images."""
  return min(512, max(8, 2 ** int(math.log2(max(1, num_images / 8)))))


def _num_steps(num_images, batch_size, epochs):
  if epochs < 0:
    raise errors.UserError(
      f'epochs={epochs:g} is negative; 0 chooses by the number of images.'
    )
  if epochs:
    return max(1, round(epochs * num_images / batch_size))
  epochs = 30 if num_images <= 20_000 else 10
  return max(50, round(epochs * num_images / batch_size))


def _has_accelerator():
  """Returns whether JAX will find one, without waking it: processes of a run

  have to find each other first.
  """
  if os.environ.get('JAX_PLATFORMS', '').startswith('cpu'):
    return False
  plugins = ('jax_cuda12_plugin', 'jax_cuda13_plugin', 'libtpu')
  return any(map(importlib.util.find_spec, plugins)) and any(
    map(glob.glob, ('/dev/nvidia[0-9]*', '/dev/accel*', '/dev/vfio/[0-9]*'))
  )
