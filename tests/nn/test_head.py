"""The head starts with equal logits and answers in float32."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from vit_jax.nn import head


class Classifier(nn.Module):
  num_classes: int
  bias: float = 0.0

  @nn.compact
  def __call__(self, x):
    return head.logits(x, self.num_classes, self.bias)


def test_a_fresh_head_gives_its_bias_in_float32(rng):
  x = jnp.ones((2, 4), jnp.bfloat16)
  logits, params = Classifier(3, -10.0).init_with_output(rng, x)
  assert logits.dtype == jnp.float32
  np.testing.assert_array_equal(logits, np.full((2, 3), -10))
  assert set(params['params']) == {'head'}


def test_no_classes_are_no_logits_and_no_parameters(rng):
  logits, params = Classifier(0).init_with_output(rng, jnp.ones((2, 4)))
  assert logits is None
  assert not params
