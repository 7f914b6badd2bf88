"""The last layer of a classifier."""

import flax.linen as nn
import jax.numpy as jnp


def logits(pooled, num_classes, bias):
  """Returns float32 [batch, classes], or None for no classes.

  The kernel starts at zero, so that all classes are equally likely. To be
  called in a compact method only, whose module gets the layer as 'head'.

  Args:
    pooled: [batch, width].
    num_classes: how many; 0: no head.
    bias: the initial one, of every class.
  """
  if not num_classes:
    return None
  return nn.Dense(
    num_classes,
    kernel_init=nn.initializers.zeros,
    bias_init=nn.initializers.constant(bias),
    dtype=jnp.float32,
    name='head',
  )(pooled)
