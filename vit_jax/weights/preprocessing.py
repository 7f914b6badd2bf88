"""How images are prepared for weights: their size, and the crop."""

from vit_jax.data.transforms import crops
from vit_jax.weights.catalog import entry

_NATIVE = (224, 224)  # For weights that fit any size.


def image_size(found, resolution):
  """Returns (rows, columns) in pixels: as asked for, or as trained.

  Args:
    found: a `loading.Weights`.
    resolution: (side,) or (rows, columns) in pixels; None: as trained.
  """
  return (resolution * 2)[:2] if resolution else found.image_size or _NATIVE


def crop(found, size):
  """Returns what crops images as those that the weights were evaluated on."""
  if found.format == 'huggingface':  # As transformers' image processor.
    return crops.Stretch(*size, 'bilinear_antialiased')
  scale = found.entry.scale if found.entry else entry.CENTRAL
  return crops.Central(*size, scale=scale)
