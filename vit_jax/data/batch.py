"""The contents of a batch: keys, shapes, dtypes, value ranges.

    image   uint8 [batch, height, width, 3]; RGB, 0 to 255
    label   int32 [batch]; class index, -1 where there is none
    mask    bool [batch]; False for the padding of a last batch
    index   int64 [batch]; position of the example in its data set, -1: padding

Images travel as bytes and become [-1, 1] on the device (`to_model_range`).
"""

import jax.numpy as jnp
import numpy as np

KEYS = ('image', 'label', 'mask', 'index')


def to_model_range(image, dtype=jnp.float32):
  """Maps 0..255 to [-1, 1], the range of every released ViT."""
  return ((image.astype(jnp.float32) - 127.5) / 127.5).astype(dtype)


def padding(height, width):
  """Returns the example that pads a last batch; it is masked."""
  return {
    'image': np.zeros((height, width, 3), np.uint8),
    'label': np.int32(-1),
    'mask': np.bool_(False),
    'index': np.int64(-1),
  }
