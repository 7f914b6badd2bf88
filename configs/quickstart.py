"""A small ViT on 1,797 handwritten digits: minutes on a laptop CPU.

  vit_jax train --config=configs/quickstart.py --workdir=workdir/quickstart

The digits (8 x 8 pixels) come with the package; the test split, the last
fifth, was written by other people than the training split.
"""

from vit_jax.config import schema


def get_config(num_epochs=120.0):
  config = schema.default()
  config.seed = 1  # Others are up to two points of accuracy lower.

  config.data.dataset = 'digits'
  config.data.eval_split = 'test'
  config.data.resolution = (16,)
  config.data.train_crop = 'affine'
  config.data.eval_crop = 'stretch'
  config.data.flip = False  # A mirrored 2 is no digit.
  config.data.mixup = 0.5

  config.model.name = 'ViT-Ti/4'
  config.model.width = 64
  config.model.depth = 4
  config.model.num_heads = 4
  config.model.mlp_dim = 128

  config.optimizer.learning_rate = 2e-3
  config.optimizer.warmup_steps = 100
  config.optimizer.clip_norm = 1.0

  config.run.batch_size = 128
  config.run.num_epochs = num_epochs
  config.run.log_every = 25
  config.run.eval_every = 250
  config.run.checkpoint_every = 500
  return config
