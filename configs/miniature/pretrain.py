"""From scratch on painted roundels: the paper in miniature.

  vit_jax train --config=configs/miniature/pretrain.py:model=vit \\
    --workdir=...

24 classes of 16 x 16 pixels (vit_jax/data/sources/roundels.py); a ViT, a hybrid
and a ResNet, each for about ten seconds on a CPU. `make miniature` varies what
docs/miniature.md compares.
"""

from vit_jax import errors
from vit_jax.config import schema

# Knob model: name, depth of the Transformer if there is one, number of steps.
MODELS = {
  'vit': ('ViT-Ti/4', 2, 800),
  'hybrid': ('R5+ViT-Ti/4', 2, 300),
  'resnet': ('BiT-R8x1', None, 200),
}


def get_config(model='vit'):
  config = schema.default()
  name, depth, num_steps = errors.choose('knob model', model, MODELS)

  config.data.source = 'roundels'
  config.data.num_examples = 8192
  config.data.train_split = 'train[:8192]'
  config.data.eval_split = 'test[:1024]'
  config.data.resolution = (16,)
  config.data.train_crop = 'stretch'
  config.data.eval_crop = 'stretch'
  config.data.flip = False  # It would change the class.

  config.model.name = name
  if depth:
    config.model.update(
      {'width': 32, 'depth': depth, 'num_heads': 2, 'mlp_dim': 64}
    )

  config.optimizer.learning_rate = 4e-3
  config.optimizer.warmup_steps = num_steps // 10
  config.optimizer.clip_norm = 1.0

  config.run.batch_size = 64
  config.run.eval_batch_size = 256
  config.run.num_steps = num_steps
  config.run.log_every = num_steps
  config.run.eval_every = 0
  config.run.checkpoint_every = 0
  return config
