"""Fine-tuning pre-trained weights (ViT paper, table 4).

  vit_jax train --config=configs/finetune/transfer.py:dataset=cifar10 \\
    --workdir=...

SGD with momentum 0.9, batches of 512, cosine schedule, gradients clipped to
norm 1, no weight decay, 384 px (H/14: 378, in whole patches). From
ImageNet-21k, B/16 reaches (table 5) 98.95 % on CIFAR-10, 91.67 on CIFAR-100,
83.97 on ImageNet, 94.43 on Pets and 99.38 on Flowers. The paper takes the
learning rate of RATES that is best on the held-out examples of `choosing=true`;
so does

  vit_jax sweep --config=configs/finetune/transfer.py:dataset=cifar10 \\
    --workdir=... --seeds=3

`init` is a catalogue name, a URL, a file or a run directory; `variant` is that
of a ViT, or the full name of another model. `dataset` may also be vtab/TASK
(random crops from 7/6 of the size, or none where positions matter, as in
scenic's plainvit), or any data set of your own with --config.data.source,
.dataset, .train_split and .eval_split.

Cost: 1.70 exaFLOPs, 1.2 H100 hours at 40 % of their peak; ImageNet twice that.
"""

from vit_jax import errors
from vit_jax.config import model_names, schema
from vit_jax.data import datasets
from vit_jax.data.datasets import vtab

# Data set: number of steps. Warm-ups are AugReg's (Steiner et al., 2022).
STEPS = {
  'imagenet2012': 20_000,
  'cifar10': 10_000,
  'cifar100': 10_000,
  'oxford_iiit_pet': 500,
  'oxford_flowers102': 500,
  'vtab': 2_500,
}
WARMUP = {20_000: 500, 10_000: 500, 2_500: 200, 500: 100}
RATES = {
  'imagenet2012': (0.003, 0.01, 0.03, 0.06),
  'vtab': (0.01,),
}
OTHER_RATES = (0.001, 0.003, 0.01, 0.03)


def get_grid(dataset='cifar10'):
  """Returns the grid of `vit_jax sweep`."""
  name = dataset.partition('/')[0]
  return {'optimizer.learning_rate': RATES.get(name, OTHER_RATES)}


def get_config(
  dataset='cifar10', variant='B/16', init='', resolution=0, choosing=False
):
  config = schema.default()
  name = dataset.partition('/')[0]

  config.model.name = model_names.of_variant(variant)
  config.init = init or f'imagenet21k/{config.model.name.replace("/", "_")}'

  _set_data(config.data, dataset, choosing)
  patch = model_names.patch_size(config.model.name) or 1
  config.data.resolution = (resolution or 384 // patch * patch,)
  config.data.eval_crop = 'stretch'  # Small images have no border to spare.

  config.optimizer.name = 'sgd'
  config.optimizer.momentum = 0.9
  config.optimizer.learning_rate = RATES.get(name, OTHER_RATES)[-1]
  config.optimizer.schedule = 'cosine'
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = 1.0

  config.run.batch_size = 512
  config.run.num_steps = errors.choose('knob dataset', name, STEPS)
  config.optimizer.warmup_steps = WARMUP[config.run.num_steps]
  return config


def _set_data(data, dataset, choosing):
  of_vtab = vtab.find(dataset)
  if of_vtab:
    data.dataset, data.flip = dataset, of_vtab.task.flip
    data.train_crop = of_vtab.train_crop
    splits = of_vtab.choosing if choosing else ('train', 'test')
  else:
    facts = datasets.get(dataset)
    data.source, data.dataset = facts.source, facts.dataset
    splits = facts.choosing() if choosing else (facts.train[0], facts.test[0])
  data.train_split, data.eval_split = splits
