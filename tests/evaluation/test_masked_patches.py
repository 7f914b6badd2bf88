"""Colours of patches, counted by hand."""

import jax.numpy as jnp
import pytest

from vit_jax import errors
from vit_jax.evaluation import masked_patches
from vit_jax.training.objectives import masked_patches as objective

PREDICTIONS = (
  objective.Prediction(
    loss=jnp.array([[1.0, 2.0], [9.0, 4.0]]),
    correct=jnp.array([[True, False], [True, True]]),
    counted=jnp.array([[True, True], [False, True]]),
  ),
  objective.Prediction(
    loss=jnp.array([[3.0, 9.0]]),
    correct=jnp.array([[False, True]]),
    counted=jnp.array([[True, False]]),
  ),
)


def test_every_corrupted_patch_counts_once():
  found = masked_patches.evaluate(lambda batch: batch, PREDICTIONS)
  assert found == {
    'loss': (1 + 2 + 4 + 3) / 4,
    'accuracy': 2 / 4,
    'num_patches': 4,
  }


def test_no_image_is_an_error():
  with pytest.raises(errors.UserError, match='no image to evaluate on'):
    masked_patches.evaluate(lambda batch: batch, [])
