"""Masked-patch prediction, without labels (ViT paper, section B.1.2).

  vit_jax train --config=configs/pretrain/masked_patches.py --workdir=/data/mpp
  vit_jax evaluate --workdir=/data/mpp --evaluators=fewshot,knn
  vit_jax train --workdir=... \\
    --config=configs/finetune/transfer.py:dataset=imagenet2012,init=/data/mpp

One million steps of 4096 images; most of the gain is there after 100,000
(`num_steps=100000`). B/16 then has 79.9 % on ImageNet, 2 points more than from
scratch and 4 less than after supervised pre-training. The paper trains on
JFT-300M, and finds gains from ImageNet, too; it mentions no weight decay.

Cost: 432 exaFLOPs, 303 H100 hours at 40 % of their peak.
"""

from vit_jax.config import model_names, schema


def get_config(variant='B/16', dataset='imagenet2012', num_steps=1_000_000):
  config = schema.default()

  config.data.dataset = dataset
  config.data.train_split = 'train[:99%]'
  config.data.eval_split = 'train[99%:]'

  config.model.name = model_names.of_variant(variant)
  config.model.dtype = 'bfloat16'

  config.objective.name = 'masked_patches'

  config.optimizer.learning_rate = 2e-4
  config.optimizer.warmup_steps = 10_000
  config.optimizer.weight_decay = 0.0

  config.run.num_steps = num_steps
  return config
