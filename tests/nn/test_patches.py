"""A patch embedding is one linear map of every patch."""

import jax
import numpy as np

from vit_jax.nn import patches


def test_each_vector_is_the_product_of_its_patch(rng):
  images = jax.random.normal(rng, (2, 8, 12, 3))
  layer = patches.PatchEmbedding(patch_size=4, width=5)
  params = layer.init(rng, images, train=False)
  out = layer.apply(params, images, train=False)
  assert out.shape == (2, 2, 3, 5)
  images = np.asarray(images)
  kernel = np.asarray(params['params']['embedding']['kernel']).reshape(-1, 5)
  for row, column in np.ndindex(2, 3):
    patch = images[:, 4 * row :, 4 * column :][:, :4, :4].reshape(2, -1)
    np.testing.assert_allclose(out[:, row, column], patch @ kernel, atol=1e-5)
