"""How an image file becomes the pixels that weights take."""

import dataclasses
import math

from vit_jax import errors
from vit_jax.data import transforms
from vit_jax.data.transforms import crops, resizing, whole_pixels

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

  Our models take pixels in [-1, 1] whatever the released ones take: mean and
  standard deviation are part of their parameters; see `normalization`.

  Attributes:
    crop: central, stretch or letterbox; see `crops.EVALUATION`.
    resize: how the image is resized, a key of `resizing.METHODS`.
    scale: before the centre is taken, the image covers so many times the size
      of the model's input; 1 for a letterbox.
    exif_orientation: whether the image is turned as its EXIF data say.
    mean, std: of each channel: what the released weights want subtracted from
      pixels in [0, 1], and the rest divided by.
    rounding: whose rule gives whole pixels, a key of `whole_pixels.ROUNDINGS`.
    exact_jpeg: whether a JPEG becomes Pillow's pixels; see `decoding.decode`.
  """

  crop: str = 'central'
  resize: str = 'area'
  scale: float = 8 / 7
  exif_orientation: bool = False
  mean: tuple[float, float, float] = UNIT
  std: tuple[float, float, float] = UNIT
  rounding: str = 'nearest'
  exact_jpeg: bool = False

  def __post_init__(self):
    errors.choose('The crop', self.crop, _CROPS)
    errors.choose('The resizing', self.resize, resizing.METHODS)
    errors.choose('The rounding', self.rounding, whole_pixels.ROUNDINGS)
    if not 1 <= self.scale < math.inf:
      raise errors.UserError(
        f'An image is resized to {self.scale} times the size of the model: it '
        'must be at least 1.'
      )
    for name, least in (('mean', -math.inf), ('std', 0)):
      values = getattr(self, name)
      if len(values) != 3 or not all(least < v < math.inf for v in values):
        raise errors.UserError(
          f'The {name} {list(values)} of pixels is no finite number of each of '
          '3 channels' + (', above 0.' if name == 'std' else '.')
        )

  def chain(self, size):
    """Returns the transforms of an image file; see `transforms`.

    Args:
      size: (rows, columns) in pixels.
    """
    options = {
      'method': self.resize,
      'scale': self.scale,
      'rounding': whole_pixels.ROUNDINGS[self.rounding],
    }
    if self.crop == 'letterbox':
      options['color'] = self.padding
    crop = _CROPS[self.crop](*size, **options)
    return (
      transforms.DecodeCrop(
        crop, self.exif_orientation, exact_jpeg=self.exact_jpeg
      ),
    )

  @property
  def padding(self):
    """What a letterbox is padded with: the mean, uint8 of each channel."""
    return tuple(round(255 * value) for value in self.mean)


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
