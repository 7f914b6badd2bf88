"""Stochastic depth: whole branches are skipped (Huang et al., 2016)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class DropPath(nn.Module):
  """In training, drops the branch of some examples and scales up the others.

  The rate is the share of examples that lose the branch, so the expected
  output is the input.
  """

  rate: float

  @nn.compact
  def __call__(self, x, *, train):
    """Maps x [batch, ...] to an array of the same shape."""
    if not train or self.rate == 0:
      return x
    keep = 1 - self.rate
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    mask = jax.random.bernoulli(self.make_rng('dropout'), keep, shape)
    return jnp.where(mask, x / keep, 0).astype(x.dtype)
