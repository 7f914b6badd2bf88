"""BiT ResNets (Kolesnikov et al., 2020): the .npz files of gs://bit_models."""

import re

from vit_jax.weights import mapping
from vit_jax.weights.files import weights_file

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
