"""From pixels to patch embeddings (ViT paper, equation 1)."""

import flax.linen as nn
import jax.numpy as jnp

from vit_jax.nn import dot_general


class PatchEmbedding(nn.Module, kw_only=True):
  """A linear map of every patch; the stem of a plain ViT."""

  patch_size: int
  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, images, *, train):
    """Maps images to [batch, rows, columns, width], a vector per patch.

    Args:
      images: [batch, height, width, channels]; pixels in [-1, 1], or the
        features of a convolutional stem. Height and width are multiples of
        the patch size.
      train: unused; part of the interface of stems.
    """
    del train
    batch, height, width, channels = images.shape
    side = self.patch_size
    rows, columns = height // side, width // side
    x = images.reshape(batch, rows, side, columns, side, channels)
    x = x.swapaxes(2, 3)  # [batch, rows, columns, side, side, channels]
    return nn.DenseGeneral(
      self.width,
      axis=(-3, -2, -1),
      dtype=self.dtype,
      dot_general=dot_general.dot_general,
      name='embedding',
    )(x)
