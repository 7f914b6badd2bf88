"""A plain ViT-S/16 on ImageNet-1k (Beyer et al., 2022), 90 epochs: 76.5 %.

  vit_jax train --config=configs/pretrain/plain_s16.py --workdir=...

'Better plain ViT baselines for ImageNet-1k', table 1: batches of 1024, average
pooling, sine-cosine position embeddings, light RandAugment and mixup. 150
epochs give 78.5, 300 give 80.0 %. Weight decay is decoupled and times the
learning rate: 1e-4 per step at its peak.

Cost: 3.15 exaFLOPs, 2.2 H100 hours at 40 % of their peak.
"""

from vit_jax.config import schema


def get_config(num_epochs=90.0):
  config = schema.default()

  config.data.dataset = 'imagenet2012'
  config.data.train_split = 'train[:99%]'
  config.data.eval_split = 'validation'
  config.data.augmentation = 'light2'  # Two operations, magnitude 10; mixup .2.

  config.model.name = 'ViT-S/16'
  config.model.pooling = 'average'
  config.model.position_embedding = 'sincos_2d'
  config.model.dtype = 'bfloat16'

  config.optimizer.learning_rate = 1e-3
  config.optimizer.weight_decay = 0.1
  config.optimizer.clip_norm = 1.0

  config.run.batch_size = 1024
  config.run.num_epochs = num_epochs
  return config
