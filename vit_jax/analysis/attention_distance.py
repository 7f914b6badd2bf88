"""Mean attention distance: how far heads look, as a receptive field in pixels.

ViT paper, section 4.5 and appendix D.7; figures 7 (right) and 11.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.analysis import attention_maps

_TINY = float(np.finfo(np.float32).tiny)


def attention_distance(weights, grid, patch_size):
  """Returns float32 [...], the mean distance between a patch and what it sees.

  Each patch is a query; its distances to all patches are averaged, weighted by
  attention, and then the queries are. A class token is at no place: it is
  left out as query, and what it gets of other queries' attention, too.

  Args:
    weights: [..., tokens, tokens], attention weights of queries (second to
      last axis) to tokens.
    grid: (rows, columns) of the patches, which are the last tokens.
    patch_size: input pixels from one patch to the next; of a hybrid, whose
      patches are of a feature map, those too.
  """
  num_patches = grid[0] * grid[1]
  weights = weights[..., -num_patches:, -num_patches:]
  weighted = jnp.einsum(
    '...qk,qk->...q',
    weights,
    jnp.asarray(patch_distances(grid, patch_size), jnp.float32),
    precision='highest',
  )
  total = jnp.sum(weights, axis=-1)
  # A query that gives its class token all has nothing left for any distance.
  return jnp.mean(weighted / jnp.maximum(total, _TINY), axis=-1)


def patch_distances(grid, patch_size):
  """Returns float64 [patches, patches], between centres, in input pixels.

  Args:
    grid, patch_size: see `attention_distance`.
  """
  places = patch_size * np.indices(grid).reshape(2, -1)  # [2, patches]
  return np.hypot(*(places[:, :, None] - places[:, None, :]))


def make_distances_of(model, grid, patch_size):
  """Returns distances_of(params, pixels), [batch, depth, heads], compiled."""

  @jax.jit
  def distances_of(params, pixels):
    layers = attention_maps.compute(model, params, pixels).layers
    distances = [
      attention_distance(layer, grid, patch_size) for layer in layers
    ]
    return jnp.stack(distances, axis=1)

  return distances_of
