import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.evaluation import metrics


@pytest.fixture
def values():
  return np.random.default_rng(0).normal(size=12).astype(np.float32)


def test_masked_mean_equals_numpy(values):
  mask = np.arange(12) % 3 > 0
  mean = metrics.Mean.of(jnp.array(values), jnp.array(mask)).compute()
  assert mean == pytest.approx(values[mask].mean(), abs=1e-6)


def test_without_mask_every_example_counts(values):
  mean = metrics.Mean.of(jnp.array(values)).compute()
  assert mean == pytest.approx(values.mean(), abs=1e-6)


def test_what_is_masked_may_be_nan(values):
  mask = np.arange(12) > 0
  spoilt = jnp.array(values).at[0].set(jnp.nan)
  mean = metrics.Mean.of(spoilt, jnp.array(mask)).compute()
  assert mean == pytest.approx(values[1:].mean(), abs=1e-6)


def test_bools_give_a_share():
  hits = jnp.array([True, False, False, True])
  assert metrics.Mean.of(hits).compute() == 0.5


def test_order_of_merging_does_not_matter(values):
  parts = [
    {'loss': metrics.Mean.of(jnp.array(values[start:end]))}
    for start, end in ((0, 1), (1, 5), (5, 12))
  ]
  for first, second, third in itertools.permutations(parts):
    merged = metrics.merge(metrics.merge(first, second), third)
    assert metrics.compute(merged)['loss'] == pytest.approx(
      values.mean(), abs=1e-6
    )


def test_uneven_batches_weigh_by_their_examples():
  one = metrics.Mean.of(jnp.array([4.0]))
  three = metrics.Mean.of(jnp.array([0.0, 0.0, 0.0]))
  assert one.merge(three).compute() == 1.0


def test_a_mean_over_nothing_is_nan():
  nothing = metrics.Mean.of(jnp.ones(3), jnp.zeros(3, bool))
  assert math.isnan(nothing.compute())


def test_means_pass_through_jit(values):
  mean = jax.jit(metrics.Mean.of)(jnp.array(values))
  assert mean.total.dtype == mean.count.dtype == jnp.float32
  assert mean.compute() == pytest.approx(values.mean(), abs=1e-6)


def test_half_precision_is_summed_in_single():
  values = jnp.ones(4096, jnp.bfloat16)  # A bfloat16 sum stops at 256.
  assert metrics.Mean.of(values).total == 4096
