"""ViT on ImageNet-21k (ViT paper, table 3).

  vit_jax train --config=configs/pretrain/vit_i21k.py:variant=B/16 \\
    --workdir=...

90 epochs for B, 30 or 90 for L, at 224 px; sigmoid loss over 21,843 classes
with a head that starts at -10. Weight decay is decoupled and times the learning
rate: 3e-5 per step at its peak. On held-out ImageNet-21k, the authors report
B/32 44.04, B/16 47.88, L/32 45.42, L/16 49.90 and H/14 49.06 %; on ImageNet
after fine-tuning at 384 px (table 5) 81.28, 83.97, 80.99, 85.15 and 85.13.
They trained on 12.4 of the 14.2 million images, without duplicates.
TFDS has no ImageNet-21k: `dataset` names a builder of your own, or
`--config.data.source=folder` reads a folder of images.

Cost: 134 exaFLOPs, 94 H100 hours at 40 % of their peak; L/16 470 and 330.
"""

from vit_jax.config import model_names, schema


def get_config(
  variant='B/16', dataset='imagenet21k', num_epochs=90.0, eval_images=51_200
):
  config = schema.default()

  config.data.dataset = dataset
  config.data.num_classes = 21_843
  config.data.train_split = f'train[{eval_images}:]'
  config.data.eval_split = f'train[:{eval_images}]'

  config.model.name = model_names.of_variant(variant)
  config.model.head = 'pre_logits'
  config.model.head_bias = -10.0
  config.model.dropout = 0.1
  config.model.dtype = 'bfloat16'

  config.objective.loss = 'sigmoid'

  config.optimizer.learning_rate = 1e-3
  config.optimizer.schedule = 'linear'
  config.optimizer.end_learning_rate = 1e-5
  config.optimizer.weight_decay = 0.03

  config.run.num_epochs = num_epochs
  return config
