"""How images are prepared for weights: their size, and the transforms."""

from vit_jax.config import schema
from vit_jax.data import transforms
from vit_jax.data.transforms import crops

_NATIVE = (224, 224)  # For weights that fit any size.
# Those of `config.data` that say how an image becomes pixels of a given size.
_FIELDS = ('exif_orientation', 'eval_crop', 'resize')


def image_size(found, resolution):
  """Returns (rows, columns) in pixels: as asked for, or as trained.

  Args:
    found: a `loading.Weights`.
    resolution: (side,) or (rows, columns) in pixels; None: as trained.
  """
  return (resolution * 2)[:2] if resolution else found.image_size or _NATIVE


def fields(found):
  """Returns {field of `config.data`: value} of how images are prepared.

  Args:
    found: a `loading.Weights`. Of a run, they are its own; of transformers'
      models, what its image processor does.
  """
  if found.data is not None:
    return {field: found.data[field] for field in _FIELDS}
  if found.format == 'huggingface':
    return {'eval_crop': 'stretch', 'resize': 'bilinear_antialiased'}
  return {}


def chain(found, size):
  """Returns the transforms of an image file that the weights are evaluated on.

  Args:
    found: a `loading.Weights`.
    size: (rows, columns) in pixels.
  """
  if found.entry:
    crop = crops.Central(*size, scale=found.entry.scale)
    return (transforms.DecodeCrop(crop),)
  data = schema.default().data
  data.update(fields(found))
  data.resolution = size
  return transforms.for_evaluation(data)
