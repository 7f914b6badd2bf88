"""Blocks halve the resolution and double the features, units keep them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.nn import residual_blocks


class Unit(nn.Module):
  """Strides and gives four times its features, as every unit does."""

  features: int
  stride: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    stride = (self.stride, self.stride)
    return nn.Conv(4 * self.features, (1, 1), stride, name='conv')(x)


class Stack(nn.Module):
  num_units: tuple[int, ...]

  @nn.compact
  def __call__(self, x):
    shapes = []
    for block in residual_blocks.stack(Unit, self.num_units, 8, jnp.float32):
      x = block(x)
      shapes.append(x.shape)
    return shapes


def test_blocks_halve_the_resolution_and_double_the_features(rng):
  shapes, params = Stack((2, 1, 3)).init_with_output(
    rng, jnp.zeros((2, 16, 8, 3))
  )
  assert shapes == [(2, 16, 8, 32), (2, 8, 4, 64), (2, 4, 2, 128)]
  assert {name: set(units) for name, units in params['params'].items()} == {
    'block_1': {'unit_1', 'unit_2'},
    'block_2': {'unit_1'},
    'block_3': {'unit_1', 'unit_2', 'unit_3'},
  }


def test_no_blocks_are_no_parameters(rng):
  assert not jax.tree.leaves(Stack(()).init(rng, jnp.zeros((1, 4, 4, 3))))
