"""Fields of older versions: what they were called, and what they lacked.

A run's config.json stays readable; whoever adds or renames a field adds a row.
"""

# Fields that older versions did not have, and what they did.
ADDED = {
  'model.attention': 'xla',
  'model.scan': False,
  'model.remat': 'none',
  'optimizer.accumulation_steps': 1,
  'optimizer.ema_decay': None,
  'optimizer.layer_decay': None,
}

# What fields were called, and are called now.
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
# Likewise, of the values of a field.
RENAMED_VALUES = {
  'data.eval_crop': _CROPS,
  'data.train_crop': _CROPS,
  'model.head': {'tanh_hidden': 'pre_logits'},
}


def upgrade(flat):
  """Returns {field: value} of an older version as this version says it."""
  upgraded = dict(ADDED)
  for old, value in flat.items():
    field = RENAMED.get(old, old)
    if isinstance(value, str):
      value = RENAMED_VALUES.get(field, {}).get(value, value)
    upgraded[field] = value
  return upgraded
