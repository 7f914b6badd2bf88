"""ViT, hybrids and ResNets on 303 million images (ViT paper, table 3).

  vit_jax train --config=configs/pretrain/vit_jft.py:variant=L/16 \\
    --workdir=... --config.data.source=folder --config.data.dataset=/data/own \\
    --config.data.num_classes=18291

JFT-300M is not public. Any data set will do: the number of steps is that of
`num_epochs` over `num_images`, whatever its size, so that the compute is that
of the paper's table 6. Images of JFT may have several labels, hence the sigmoid
loss. Weight decay is decoupled and times the learning rate (8e-5 per step at
the peak of B/16). After fine-tuning at 384 px, table 5 has B/16 at 84.15, L/16
at 87.12 and H/14 at 88.04 % on ImageNet.

Cost: 224 exaFLOPs, 157 H100 hours at 40 % of their peak; H/14 4260 and 2990.
"""

from vit_jax import errors
from vit_jax.config import model_names, schema

# Model: epochs (of those printed, the first), learning rate.
ROWS = {
  'ViT-B/32': (7, 8e-4),
  'ViT-B/16': (7, 8e-4),
  'ViT-L/32': (7, 6e-4),
  'ViT-L/16': (7, 4e-4),  # And 14 epochs.
  'ViT-H/14': (14, 3e-4),
  'BiT-R50x1': (7, 1e-3),
  'BiT-R50x2': (7, 1e-3),
  'BiT-R101x1': (7, 8e-4),
  'BiT-R152x1': (7, 6e-4),
  'BiT-R152x2': (7, 6e-4),  # And 14 epochs.
  'R50+ViT-B/32': (7, 8e-4),
  'R50+ViT-B/16': (7, 8e-4),
  'R50+ViT-L/32': (7, 2e-4),
  'R50+ViT-L/16': (7, 4e-4),  # And 14 epochs.
}


def get_config(
  variant='B/16', num_epochs=0.0, num_images=303_000_000, dataset='jft'
):
  config = schema.default()
  name = model_names.of_variant(variant)
  epochs, learning_rate = errors.choose('knob variant', name, ROWS)

  config.data.dataset = dataset
  config.data.num_classes = 18_291
  config.data.train_split = 'train[51200:]'
  config.data.eval_split = 'train[:51200]'

  config.model.name = name
  config.model.head_bias = -10.0
  config.model.dtype = 'bfloat16'
  if 'ViT' in name:
    config.model.head = 'pre_logits'

  config.objective.loss = 'sigmoid'

  config.optimizer.learning_rate = learning_rate
  config.optimizer.schedule = 'linear'
  config.optimizer.end_learning_rate = 1e-5
  config.optimizer.weight_decay = 0.1

  config.run.num_steps = round((num_epochs or epochs) * num_images / 4096)
  return config
