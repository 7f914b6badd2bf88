"""Fine-tuning at a higher resolution, in miniature (ViT paper, section 3.2).

  vit_jax train --config=configs/miniature/finetune.py:resolution=32 \\
    --config.init=... --workdir=...

As in the paper's table 4: SGD with momentum 0.9, cosine schedule, gradients
clipped to norm 1, no weight decay. `init` is a run of
configs/miniature/pretrain.py, at 16 pixels; the images are a small set of other
roundels. `make miniature` compares resolutions, and training from scratch.
"""

from vit_jax.config import schema


def get_config(resolution=16, num_steps=100):
  config = schema.default()

  config.data.source = 'roundels'
  config.data.num_examples = 1024
  config.data.train_split = 'transfer'
  config.data.eval_split = 'test'
  config.data.resolution = (resolution,)
  config.data.train_crop = 'stretch'
  config.data.eval_crop = 'stretch'
  config.data.flip = False  # It would change the class.

  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 32, 'depth': 2, 'num_heads': 2, 'mlp_dim': 64})

  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.03
  config.optimizer.warmup_steps = num_steps // 10
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = 1.0

  config.run.batch_size = 64
  config.run.eval_batch_size = 256
  config.run.num_steps = num_steps
  config.run.log_every = num_steps
  config.run.eval_every = 0
  config.run.checkpoint_every = 0
  return config
