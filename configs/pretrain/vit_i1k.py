"""ViT from scratch on ImageNet-1k (ViT paper, table 3, last row).

  vit_jax train --config=configs/pretrain/vit_i1k.py:variant=B/16 \\
    --workdir=...

300 epochs of ImageNet-1k at 224 px. Weight decay is decoupled and times the
learning rate: 9e-4 per step at its peak. After fine-tuning at 384 px the paper
has (table 5) B/16 77.91, B/32 73.38, L/16 76.53 and L/32 71.16 % top-1; before,
the authors report 74.79, 69.19, 72.59 and 66.90 %.

Cost: 40.1 exaFLOPs, 28 H100 hours at 40 % of their peak; L/16 141 and 99.
"""

from vit_jax.config import model_names, schema


def get_config(variant='B/16', num_epochs=300.0):
  config = schema.default()

  config.data.dataset = 'imagenet2012'
  config.data.train_split = 'train[:99%]'  # The rest is for validation.
  config.data.eval_split = 'train[99%:]'

  config.model.name = model_names.of_variant(variant)
  config.model.head = 'pre_logits'
  config.model.dropout = 0.1
  config.model.dtype = 'bfloat16'

  config.optimizer.learning_rate = 3e-3
  config.optimizer.schedule = 'cosine'
  config.optimizer.weight_decay = 0.3
  config.optimizer.clip_norm = 1.0

  config.run.num_epochs = num_epochs
  return config
