"""How an image file becomes the pixels that weights take."""

import dataclasses

from vit_jax import errors
from vit_jax.data import transforms
from vit_jax.data.transforms import crops, resizing

NATIVE = (224, 224)  # (rows, columns) in pixels, of weights that fit any size.
UNIT = (0.5, 0.5, 0.5)  # Mean and standard deviation of pixels in [-1, 1].

_CROPS = {
  'central': crops.Central,
  'stretch': crops.Stretch,
  'letterbox': crops.Letterbox,
}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """From an image file to pixels.

  Our models take pixels in [-1, 1] whatever the released ones take: `fold`
  moves their mean and standard deviation into the kernel that reads the pixels.

  Attributes:
    crop: central, stretch or letterbox; see `crops.EVALUATION`.
    resize: how the image is resized, a key of `resizing.METHODS`.
    scale: before the centre is taken, the image covers so many times the size
      of the model's input; 1 for a letterbox.
    exif_orientation: whether the image is turned as its EXIF data say.
    mean, std: of each channel, in [0, 1]: what the released weights want
      subtracted from pixels in [0, 1], and the rest divided by.
  """

  crop: str = 'central'
  resize: str = 'area'
  scale: float = 8 / 7
  exif_orientation: bool = False
  mean: tuple[float, float, float] = UNIT
  std: tuple[float, float, float] = UNIT

  def __post_init__(self):
    errors.choose('The crop', self.crop, _CROPS)
    errors.choose('The resizing', self.resize, resizing.METHODS)

  def chain(self, size):
    """Returns the transforms of an image file; see `transforms`.

    Args:
      size: (rows, columns) in pixels.
    """
    options = {'method': self.resize}
    if self.crop != 'letterbox':
      options['scale'] = self.scale
    crop = _CROPS[self.crop](*size, **options)
    return (transforms.DecodeCrop(crop, self.exif_orientation),)


AS_RELEASED = Preprocessing()  # As Google's models were evaluated.


def of_data(data):
  """Returns how a run prepares the images that it evaluates on.

  Args:
    data: the part `data` of its configuration.
  """
  (decode_crop,) = transforms.for_evaluation(data)
  crop = decode_crop.crop
  return Preprocessing(
    data.eval_crop,
    crop.method,
    getattr(crop, 'scale', 1.0),
    decode_crop.exif_orientation,
  )


def image_size(card, resolution):
  """Returns (rows, columns) in pixels: as asked for, or as trained.

  Args:
    card: a `card.Card`.
    resolution: (side,) or (rows, columns) in pixels; None: as trained.
  """
  return (resolution * 2)[:2] if resolution else card.image_size or NATIVE


def fields(preprocessing):
  """Returns {field of `config.data`: value} that prepare images so."""
  return {
    'exif_orientation': preprocessing.exif_orientation,
    'eval_crop': preprocessing.crop,
    'resize': preprocessing.resize,
  }
