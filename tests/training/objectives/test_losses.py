"""Cross-entropies against what they should equal."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vit_jax.training.objectives import losses


def _example(batch=4, classes=5):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(batch, classes)).astype(np.float32) * 3
  target = rng.dirichlet(np.ones(classes), size=batch).astype(np.float32)
  return logits, target


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
  _, target = _example()
  loss = losses.softmax_cross_entropy(jnp.zeros((4, 5)), target)
  np.testing.assert_allclose(loss, np.log(5), rtol=1e-6)


def test_softmax_equals_optax():
  logits, target = _example()
  given = losses.softmax_cross_entropy(logits, target)
  wanted = optax.softmax_cross_entropy(logits, target)
  np.testing.assert_allclose(given, wanted, rtol=1e-6)


def test_sigmoid_is_a_softmax_of_two_classes_for_each_class():
  logits, target = _example()
  given = losses.sigmoid_cross_entropy(logits, target)
  pairs = np.stack([logits, np.zeros_like(logits)], axis=-1)
  targets = np.stack([target, 1 - target], axis=-1)
  wanted = losses.softmax_cross_entropy(pairs, targets).sum(axis=-1)
  np.testing.assert_allclose(given, wanted, rtol=1e-5)


@pytest.mark.parametrize('loss', losses.LOSSES.values())
def test_losses_are_float32_and_finite_for_extreme_logits(loss):
  logits = jnp.array([[1e4, -1e4, 0]], jnp.bfloat16)
  value = loss(logits, jnp.array([[0.0, 1.0, 0.0]]))
  assert value.dtype == jnp.float32
  assert np.isfinite(value).all()


def test_smoothing_keeps_a_distribution_and_spreads_the_amount():
  smoothed = losses.smooth(jnp.array([[0.0, 1.0, 0.0, 0.0]]), 0.2)
  np.testing.assert_allclose(smoothed, [[0.05, 0.85, 0.05, 0.05]], rtol=1e-6)


def test_no_smoothing_changes_nothing():
  _, target = _example()
  np.testing.assert_array_equal(losses.smooth(target, 0.0), target)
