"""Fields of older versions: their former names, and those added since.

A run's config.json stays readable: adding or renaming a field adds a row here.
"""

# Fields that older versions lacked: values that keep their behaviour; but for
# what a stranger's list may name, which nobody but the user decides.
ADDED = {
  'data.allow_outside': False,
  'data.balance': False,
  'model.attention': 'xla',
  'model.scan': False,
  'model.remat': 'none',
  'optimizer.accumulation_steps': 1,
  'optimizer.ema_decay': None,
  'optimizer.layer_decay': None,
  'run.keep_best': False,
  'run.log_compiles': False,
  'run.log_parameter_norm': False,
  'run.patience': None,
  'run.peak_flops_per_device': None,
  'run.profile_steps': (0, 0),
  'run.writers': ('jsonl', 'tensorboard'),
}

# Former names of fields: present ones.
RENAMED = {
  'data.erasing': 'data.random_erasing',
  'data.max_bad_share': 'data.max_bad_fraction',
  'data.repeats': 'data.repeated_augmentation',
  'data.upright': 'data.exif_orientation',
  'run.loss_spike': 'run.loss_spike_factor',
  'run.max_skipped_in_row': 'run.max_consecutive_skips',
}

_CROPS = {
  'padded': 'letterbox',
  'random_part': 'resize_and_crop',
  'shifted': 'pad_and_crop',
  'squash': 'stretch',
}
# Likewise for the values of a field.
RENAMED_VALUES = {
  'data.eval_crop': _CROPS,
  'data.train_crop': _CROPS,
  'model.head': {'tanh_hidden': 'pre_logits'},
}


def upgrade(flat):
  """Returns {field: value} of an older version in terms of this version."""
  upgraded = dict(ADDED)
  for old, value in flat.items():
    field = RENAMED.get(old, old)
    if isinstance(value, str):
      value = RENAMED_VALUES.get(field, {}).get(value, value)
    upgraded[field] = value
  return upgraded
