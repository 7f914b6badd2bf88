"""Fine-tuning as for the state of the art (ViT paper, table 2).

  vit_jax train --config=configs/finetune/high_resolution.py --workdir=...

ImageNet at 512 px for L/16 and 518 px for H/14, evaluated with the moving
average of the parameters with a factor of 0.9999 (Polyak & Juditsky, 1992).
From ImageNet-21k, L/16 has 85.30 % top-1 and 88.62 % ReaL accuracy;
from JFT-300M, 87.76 and 90.54, and H/14 88.55 and 90.72. The rest is as in
table 4; the learning rate is the best of RATES on a hundredth of the training
set:

  vit_jax sweep --config=configs/finetune/high_resolution.py --workdir=... \\
    --seeds=3

Cost: 22.2 exaFLOPs, 15.6 H100 hours at 40 % of their peak; H/14 62 and 44.
"""

from vit_jax.config import model_names, schema

RESOLUTIONS = {'L/16': 512, 'H/14': 518}
RATES = (0.003, 0.01, 0.03, 0.06)


def get_grid():
  """Returns the grid of `vit_jax sweep`."""
  return {'optimizer.learning_rate': RATES}


def get_config(variant='L/16', init=''):
  config = schema.default()
  name = model_names.of_variant(variant)

  config.init = init or f'imagenet21k/{model_names.to_file(name)}'
  config.model.name = name
  config.model.dtype = 'bfloat16'
  config.model.remat = 'full'

  config.data.dataset = 'imagenet2012'
  config.data.resolution = (RESOLUTIONS.get(variant, 512),)
  config.data.eval_crop = 'stretch'

  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = RATES[-1]
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = 1.0
  config.optimizer.ema_decay = 0.9999
  config.optimizer.warmup_steps = 500

  config.run.batch_size = 512
  config.run.num_steps = 20_000
  return config
