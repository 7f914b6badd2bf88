"""Stochastic depth: whole branches are skipped (Huang et al., 2016)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class DropPath(nn.Module):
  """In training, drops the branch of some examples and scales up the others."""

  @nn.compact
  def __call__(self, x, rate, *, train):
    """Maps x [batch, ...] to an array of the same shape.

    Args:
      x: output of the branch.
      rate: fraction of the examples that lose the branch; the expected output
        is x. A float, or a scalar array in a loop over layers. None: no drops.
      train: whether any are dropped.
    """
    if not train or rate is None or (isinstance(rate, float) and rate == 0):
      return x
    keep = 1 - rate
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    mask = jax.random.bernoulli(self.make_rng('dropout'), keep, shape)
    return jnp.where(mask, x / keep, 0).astype(x.dtype)


def rates(last, depth):
  """Returns the rate of each layer, from zero linearly up to the last one's."""
  if last == 0:
    return [None] * depth
  return [last * layer / max(1, depth - 1) for layer in range(depth)]
