"""How PyTorch lays out what is also in our layers: rows for whole layers.

Linear weights are [out, in], ours [in, out]; convolutions [out, in, rows,
columns], ours [rows, columns, in, out]. Attention has no axis for the heads,
which are consecutive parts of `out`.
"""

from vit_jax.weights import mapping


def _reshape(array, shape):
  return array if shape is None else array.reshape(shape)


LINEAR = mapping.one_to_one(
  lambda array, shape: array.T,
  lambda array: array.T,
)
CONVOLUTION = mapping.one_to_one(
  lambda array, shape: array.transpose(2, 3, 1, 0),
  lambda array: array.transpose(3, 2, 0, 1),
)
# A linear layer as a convolution of one pixel.
PIXEL_CONVOLUTION = mapping.one_to_one(
  lambda array, shape: array.reshape(array.shape[:2]).T,
  lambda array: array.T.reshape(*array.T.shape, 1, 1),
)
# Ours is [width, heads, head_dim],
FROM_WIDTH = mapping.one_to_one(
  lambda array, shape: _reshape(array.T, shape),
  lambda array: array.reshape(array.shape[0], -1).T,
)
# [heads, head_dim, width]
TO_WIDTH = mapping.one_to_one(
  lambda array, shape: _reshape(array.T, shape),
  lambda array: array.reshape(-1, array.shape[-1]).T,
)
# and [heads, head_dim].
HEADS = mapping.one_to_one(_reshape, lambda array: array.reshape(-1))


def fused(transform, count):
  """Returns the `Transform` of `count` arrays that are one array of theirs.

  They are consecutive along its first axis.
  """

  def to_ours(arrays, shapes):
    (array,) = arrays
    if array.shape[0] % count:
      raise ValueError(f'{array.shape[0]} is no multiple of {count}')
    size = array.shape[0] // count
    parts = [array[i * size : (i + 1) * size] for i in range(count)]
    return transform.to_ours(parts, shapes)

  def to_theirs(arrays):
    parts = transform.to_theirs(arrays)
    return [parts[0].__array_namespace__().concatenate(parts)]

  return mapping.Transform(to_ours, to_theirs)


def weight_and_bias(theirs, ours, transform=mapping.SAME):
  """Returns the rows of a layer; the bias is a vector on both sides."""
  return (
    mapping.row(f'{theirs}.weight', f'{ours}/kernel', transform),
    mapping.row(f'{theirs}.bias', f'{ours}/bias'),
  )


def norm(theirs, ours):
  return (
    mapping.row(f'{theirs}.weight', f'{ours}/scale'),
    mapping.row(f'{theirs}.bias', f'{ours}/bias'),
  )


def heads(theirs, ours):
  """Returns the rows of a projection to queries, keys or values.

  Args:
    theirs: the layer's name.
    ours: the names of the projections that are consecutive in it.
  """
  count = len(ours)
  return (
    mapping.row(
      f'{theirs}.weight',
      tuple(f'{path}/kernel' for path in ours),
      fused(FROM_WIDTH, count),
    ),
    mapping.row(
      f'{theirs}.bias',
      tuple(f'{path}/bias' for path in ours),
      fused(HEADS, count),
    ),
  )


def mlp_rows(theirs, ours):
  """Returns the rows of an MLP, as timm calls its layers."""
  return (
    *weight_and_bias(f'{theirs}.fc1', f'{ours}/hidden', LINEAR),
    *weight_and_bias(f'{theirs}.fc2', f'{ours}/out', LINEAR),
  )


def unit_rows(theirs, ours):
  """Returns the rows of a bottleneck unit of a ResNet, as timm calls it."""
  row = mapping.row
  return (
    row(
      f'{theirs}.conv{{conv}}.weight',
      f'{ours}/conv_{{conv}}/kernel',
      CONVOLUTION,
    ),
    *norm(f'{theirs}.norm{{conv}}', f'{ours}/norm_{{conv}}'),
    row(
      f'{theirs}.downsample.conv.weight',
      f'{ours}/projection_conv/kernel',
      CONVOLUTION,
    ),
  )
