"""Fine-tuning AugReg's models (Steiner et al., 2022, tables 4 and 5).

  vit_jax train --config=configs/finetune/augreg.py:variant=S/16 --workdir=...

SGD with momentum 0.9, batches of 512, cosine, gradients clipped to norm 1, no
weight decay; random crops and flips, and a central crop to evaluate. At 384 px
the recommended models, pre-trained for 300 epochs of ImageNet-21k, reach on
ImageNet (table 3) Ti/16 78.22, S/16 83.73, B/16 85.49 and L/16 85.59 %.
The learning rate, and for CIFAR-100 and Pets the number of steps, are the best
on held-out training examples:

  vit_jax sweep --config=configs/finetune/augreg.py:variant=S/16 --workdir=...

With `--suite=vtab_full` it fine-tunes on the 19 tasks of VTAB with all their
examples (table 5): S/16 has 90.5 % on natural, 91.2 on specialized, 77.9 on
structured ones. The four learning rates and the resolution of that table are
not known here; the rates are the ViT paper's, and images are cropped as in
transfer.py.

Cost: 0.95 exaFLOPs, 0.7 H100 hours at 40 % of their peak.
"""

from vit_jax import errors
from vit_jax.config import model_names, schema
from vit_jax.data import datasets
from vit_jax.data.datasets import vtab

# Data set: number of steps, learning rates.
ROWS = {
  'imagenet2012': ((20_000,), (0.01, 0.03)),
  'cifar100': ((10_000, 2_500), (0.001, 0.003, 0.01)),
  'oxford_iiit_pet': ((2_500, 500), (0.001, 0.003, 0.01)),
  'vtab_full': ((2_500, 500), (0.001, 0.003, 0.01, 0.03)),
}
WARMUP = {20_000: 500, 10_000: 500, 2_500: 200, 500: 100}


def get_grid(dataset='imagenet2012', num_steps=0):
  """Returns the grid of `vit_jax sweep`."""
  steps, rates = _row(dataset)
  grid = {'optimizer.learning_rate': rates}
  if len(steps) > 1 and not num_steps:
    schedules = tuple((count, WARMUP[count]) for count in steps)
    grid['run.num_steps:optimizer.warmup_steps'] = schedules
  return grid


def get_config(
  variant='S/16',
  dataset='imagenet2012',
  init='',
  resolution=384,
  num_steps=0,
):
  config = schema.default()
  steps, rates = _row(dataset)
  name = model_names.of_variant(variant)
  file = name.replace('ViT-', '').replace('+', '_').replace('/', '_')

  config.init = init or f'augreg/{file}'
  config.model.name = name

  _set_data(config.data, dataset)
  config.data.resolution = (resolution,)

  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = rates[-1]
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = 1.0

  config.run.batch_size = 512
  config.run.num_steps = num_steps or steps[0]
  tenth = config.run.num_steps // 10
  config.optimizer.warmup_steps = WARMUP.get(config.run.num_steps, tenth)
  return config


def _row(dataset):
  return errors.choose('knob dataset', dataset.partition('/')[0], ROWS)


def _set_data(data, dataset):
  of_vtab = vtab.find(dataset)
  if of_vtab:
    data.dataset, data.flip = dataset, of_vtab.task.flip
    data.train_split, data.eval_split = 'train', 'test'
    data.train_crop = of_vtab.train_crop
    data.eval_crop = 'stretch'
  else:
    facts = datasets.get(dataset)
    data.dataset, data.train_split = facts.dataset, facts.train[0]
    data.eval_split = facts.test[0]
