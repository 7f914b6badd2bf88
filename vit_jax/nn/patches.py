"""From pixels to patch embeddings (ViT paper, equation 1)."""

import flax.linen as nn
import jax.numpy as jnp


class PatchEmbedding(nn.Module):
  """A linear map of every patch; the stem of a plain ViT."""

  patch_size: int
  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, images, *, train):
    """Maps images to [batch, rows, columns, width], a vector per patch.

    Args:
      images: [batch, height, width, channels]; pixels in [-1, 1], or the
        features of a convolutional stem.
      train: has no effect here; every stem is told.
    """
    del train
    patch = (self.patch_size, self.patch_size)
    return nn.Conv(
      self.width, patch, patch, 'VALID', dtype=self.dtype, name='embedding'
    )(images)
