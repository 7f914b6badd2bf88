"""The blocks of a ResNet (He et al., 2016a, table 1), whatever its units."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp


class Block(nn.Module, kw_only=True):
  """Units at one resolution; the first of them may lower it."""

  unit: Callable  # Takes features, stride, dtype and name; returns a module.
  num_units: int
  features: int  # Inside a unit; four times as many come out.
  stride: int  # Of the first unit.
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    """Maps [batch, rows, columns, channels] to 4 * features channels."""
    for index in range(self.num_units):
      stride = self.stride if index == 0 else 1
      name = f'unit_{index + 1}'
      x = self.unit(
        features=self.features, stride=stride, dtype=self.dtype, name=name
      )(x)
    return x


def stack(unit, num_units, features, dtype):
  """Returns the blocks, to be applied in turn.

  All but the first halve the resolution and double the features.

  Args:
    unit: see `Block`.
    num_units: a number of units for each block.
    features: of the first block.
    dtype: of the activations.
  """
  return [
    Block(
      unit=unit,
      num_units=number,
      features=features * 2**index,
      stride=1 if index == 0 else 2,
      dtype=dtype,
      name=f'block_{index + 1}',
    )
    for index, number in enumerate(num_units)
  ]
