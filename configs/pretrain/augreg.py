"""AugReg: 28 settings of regularisation (Steiner et al., 2022, section 3).

  vit_jax train --config=configs/pretrain/augreg.py:variant=S/16 --workdir=...

`setting` is the name in released files, or its index in the list, 0 to 27.
ImageNet takes 300 epochs; `dataset=imagenet21k`, 30 or 300. Adam, cosine,
weight decay decoupled and times the learning rate (1e-4 per step at its peak,
where it is 0.1). After fine-tuning at 384 px (configs/finetune/augreg.py), the
best settings reach (table 3), from 300 epochs of ImageNet | ImageNet-21k:
Ti/16 74.64 | 78.22, S/16 80.70 | 83.73, B/16 81.63 | 85.49, L/16 77.21 | 85.59,
R26+ViT-S/32 81.55 | 83.85, R50+ViT-L/32 76.71 | 85.99 %.

Cost: 10.5 exaFLOPs, 7.4 H100 hours at 40 % of their peak; L/16 141 and 99.
"""

import itertools

from vit_jax import errors
from vit_jax.config import model_names, schema

# Name of an augmentation in released files: in the paper.
AUGMENTATIONS = {
  'none': 'none',
  'light0': 'light1',
  'light1': 'light2',
  'medium1': 'medium1',
  'medium2': 'medium2',
  'strong1': 'strong1',
  'strong2': 'strong2',
}
# Name: augmentation, weight decay, dropout and stochastic depth (one rate).
SETTINGS = {
  f'{name}-wd_{decay}-do_{rate}-sd_{rate}': (augmentation, decay, rate)
  for (name, augmentation), decay, rate in itertools.product(
    AUGMENTATIONS.items(), (0.1, 0.03), (0.0, 0.1)
  )
}


def get_config(
  variant='S/16',
  setting='medium1-wd_0.1-do_0.0-sd_0.0',
  dataset='imagenet2012',
  num_epochs=300.0,
):
  config = schema.default()
  if setting.isdecimal() and int(setting) < len(SETTINGS):
    setting = list(SETTINGS)[int(setting)]
  augmentation, decay, rate = errors.choose('knob setting', setting, SETTINGS)

  config.data.dataset = dataset
  config.data.train_split = 'train[:99%]'
  config.data.eval_split = 'train[99%:]'
  config.data.augmentation = augmentation

  config.model.name = model_names.of_variant(variant)
  config.model.dropout = rate
  config.model.drop_path = rate
  config.model.dtype = 'bfloat16'

  if dataset == 'imagenet21k':
    config.data.num_classes = 21_843
    config.data.train_split = 'train[51200:]'
    config.data.eval_split = 'train[:51200]'
    config.model.head_bias = -10.0
    config.objective.loss = 'sigmoid'

  config.optimizer.learning_rate = 1e-3
  config.optimizer.weight_decay = decay
  config.optimizer.clip_norm = 1.0

  config.run.num_epochs = num_epochs
  return config
