"""BiT ResNets (Kolesnikov et al., 2020): their names in every format.

The .npz files of gs://bit_models, and timm's .safetensors.
"""

import re

from vit_jax import errors
from vit_jax.weights import mapping, tables
from vit_jax.weights.files import weights_file
from vit_jax.weights.tables import torch_layout

# The head is a convolution of one pixel.
HEAD = mapping.one_to_one(
  lambda array, shape: array.reshape(array.shape[-2:]),
  lambda array: array.reshape(1, 1, *array.shape),
)

_NORM = (('gamma', 'scale'), ('beta', 'bias'))
_CONVOLUTIONS = (('a', 1), ('b', 2), ('c', 3))
_NUMBERED = re.compile(r'/standardized_conv2d_[0-9]+/')


def view(file):
  """Drops the number that some files add to the name of a convolution."""
  return weights_file.View(
    file,
    {
      _NUMBERED.sub('/standardized_conv2d/', name): (name, None)
      for name in file
    },
  )


def table(names):
  """Returns the rows; every file has the same."""
  del names
  return rows()


def rows():
  row, convolution = mapping.row, 'standardized_conv2d/kernel'
  theirs = 'resnet/block{block}/unit{unit:02}'
  ours = 'block_{block}/unit_{unit}'
  return (
    row(f'resnet/root_block/{convolution}', 'root_conv/kernel'),
    *(
      row(f'{theirs}/{letter}/{convolution}', f'{ours}/conv_{number}/kernel')
      for letter, number in _CONVOLUTIONS
    ),
    *(
      row(f'{theirs}/{letter}/group_norm/{a}', f'{ours}/norm_{number}/{b}')
      for letter, number in _CONVOLUTIONS
      for a, b in _NORM
    ),
    row(f'{theirs}/a/proj/{convolution}', f'{ours}/projection_conv/kernel'),
    *(row(f'resnet/group_norm/{a}', f'norm/{b}') for a, b in _NORM),
    row('resnet/head/conv2d/kernel', 'head/kernel', HEAD),
    row('resnet/head/conv2d/bias', 'head/bias'),
  )


def timm_table(names):
  """Returns the rows; every file has the same."""
  del names
  return timm_rows()


def timm_rows():
  """Returns the rows of a BiT ResNet."""
  row, layout = mapping.row, torch_layout
  return (
    row('stem.conv.weight', 'root_conv/kernel', layout.CONVOLUTION),
    *torch_layout.unit_rows(
      'stages.{block-1}.blocks.{unit-1}', 'block_{block}/unit_{unit}'
    ),
    *layout.norm('norm', 'norm'),
    *layout.weight_and_bias('head.fc', 'head', layout.PIXEL_CONVOLUTION),
  )


_TIMM = {
  'BiT-R50x1': 'resnetv2_50x1_bit',
  'BiT-R50x3': 'resnetv2_50x3_bit',
  'BiT-R101x1': 'resnetv2_101x1_bit',
  'BiT-R101x3': 'resnetv2_101x3_bit',
  'BiT-R152x2': 'resnetv2_152x2_bit',
  'BiT-R152x4': 'resnetv2_152x4_bit',
}


def _timm_resnet(card, sizes):
  del sizes
  return errors.choose('The model for timm', card.model.name, _TIMM), {}


_NPZ = tables.Writer(lambda flat: rows())
WRITERS = {
  'bit': _NPZ,
  'google': _NPZ,
  'big_vision': _NPZ,
  'timm': tables.Writer(lambda flat: timm_rows(), _timm_resnet),
}
