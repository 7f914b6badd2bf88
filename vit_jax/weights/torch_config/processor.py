"""preprocessor_config.json of transformers: how its processors prepare images.

They resize to a size or by the shortest edge, crop the centre, rescale and
normalize. Files of a path they turn as EXIF says.
"""

from vit_jax import errors, files
from vit_jax.data.transforms import whole_pixels
from vit_jax.weights import preprocessing as preparation
from vit_jax.weights.torch_config import told

FILE = 'preprocessor_config.json'
_NESTED = 'processor_config.json', 'image_processor'  # A file and its field.

_CLIP = {
  'size': {'shortest_edge': 224},
  'crop_size': 224,
  'do_center_crop': True,
  'resample': 3,
  'image_mean': [0.48145466, 0.4578275, 0.40821073],
  'image_std': [0.26862954, 0.26130258, 0.27577711],
  'default_to_square': False,
}
# {class: what a file does not say}, beside what is the same for all.
_CLASSES = {
  'ViTImageProcessor': {},
  'DeiTImageProcessor': {
    'size': 256,
    'crop_size': 224,
    'do_center_crop': True,
    'resample': 3,
  },
  'BeitImageProcessor': {'crop_size': 224, 'resample': 3},
  'SiglipImageProcessor': {
    'size': {'height': 224, 'width': 224},
    'resample': 3,
    'default_to_square': False,
  },
  'CLIPImageProcessor': _CLIP,
  'BitImageProcessor': _CLIP,
}
_DEFAULTS = {
  'do_resize': True,
  'size': 224,
  'default_to_square': True,  # Of a size that is one number.
  'resample': 2,
  'do_center_crop': False,
  'crop_size': None,
  'do_rescale': True,
  'rescale_factor': 1 / 255,
  'do_normalize': True,
  'image_mean': 0.5,
  'image_std': 0.5,
}
# Fields that change nothing of an image with three channels of 8 bits.
_HARMLESS = frozenset(
  (
    *('image_processor_type', 'feature_extractor_type', 'processor_class'),
    *('do_convert_rgb', 'data_format', 'input_data_format', 'device'),
    *('return_tensors', 'disable_grouping', 'use_fast', 'backend'),
    *('_valid_processor_keys', 'model_input_names', 'image_seq_length'),
  )
)
# Pillow's numbers of filters, as `resizing.METHODS`.
_RESAMPLE = {
  1: 'lanczos_antialiased',
  2: 'bilinear_antialiased',
  3: 'bicubic_antialiased',
}
# Which of them comes nearest to a method of ours.
_NEAREST = {name: number for number, name in _RESAMPLE.items()} | {
  'area': 2,
  'bilinear': 2,
  'bicubic': 3,
}


def read(folder, image_size):
  """Returns how images are prepared, their size, and what was assumed or ''.

  Args:
    folder: with the file, or without.
    image_size: (rows, columns) in pixels that the model takes; None: unknown.

  Raises:
    UserError: what it says can not be done here; it is named.
  """
  for name in _NESTED[0], FILE:
    path = files.path(folder) / name
    if files.exists(path):
      found = told.read_json(path, _parse(nested=name == _NESTED[0]))
      if found is not None:
        _check_size(path, found[1], image_size)
        return *found, ''
  prepared, size = _read({'size': list(image_size or preparation.NATIVE)})
  return (
    prepared,
    image_size and size,
    f'no {FILE} says how images are prepared; assumed as ViTImageProcessor '
    'does it: resized to the size of the model, mean and std 0.5.',
  )


def _parse(nested):
  if not nested:
    return _read
  return lambda said: _read(said[_NESTED[1]]) if _NESTED[1] in said else None


def _check_size(path, size, image_size):
  if image_size and size != image_size:
    raise errors.UserError(
      f'{path} makes images of {size[0]} x {size[1]} pixels, and the model '
      f'beside it takes {image_size[0]} x {image_size[1]}; make them agree.'
    )


def _read(said):
  """Returns the `Preprocessing` and the size of a file's content."""
  fields = _DEFAULTS | _CLASSES[_class_name(said)]
  fields |= {name: v for name, v in said.items() if v is not None}
  for name, value in fields.items():
    if name not in _DEFAULTS and name not in _HARMLESS and value is not False:
      raise errors.UserError(
        f'{name}={value!r} is not understood, and may change images; take '
        'it out of the file if it does not.'
      )
  if fields['resample'] not in _RESAMPLE:
    raise errors.UserError(
      f'resample={fields["resample"]!r} is not understood; 1 (Lanczos), 2 '
      '(bilinear) and 3 (bicubic) are.'
    )
  crop, scale, image_size = _geometry(fields)
  mean, std = _pixels(fields)
  return (
    preparation.Preprocessing(
      crop,
      _RESAMPLE[fields['resample']],
      scale,
      exif_orientation=True,
      mean=mean,
      std=std,
      rounding='transformers',
      exact_jpeg=True,
    ),
    image_size,
  )


def _class_name(said):
  """Returns the class of the processor: also of files of older releases."""
  name = said.get('image_processor_type') or said.get('feature_extractor_type')
  name = str(name or 'ViTImageProcessor')
  name = name.replace('FeatureExtractor', 'ImageProcessor')
  name = name.removesuffix('Fast').removesuffix('Pil')
  errors.choose('image_processor_type', name, _CLASSES)
  return name


def _geometry(fields):
  """Returns (crop, scale, (rows, columns) of the image that results)."""
  size, crop_size = fields['size'], fields['crop_size']
  if not fields['do_resize']:
    raise errors.UserError(
      'do_resize=False: images of any size are given to the model, which '
      'takes one size here.'
    )
  box, shortest = _box(size, fields['default_to_square'])
  crop = _box(crop_size, True)[0] if fields['do_center_crop'] else None
  if not crop:
    if shortest:
      raise errors.UserError(
        f'size={size} without do_center_crop makes images of different sizes; '
        'a model takes one size here.'
      )
    return 'stretch', 1.0, box
  scale = box[0] / crop[0]
  if crop[0] > box[0] or crop[1] > box[1]:
    raise errors.UserError(
      f'crop_size={crop_size} is larger than size={size}: what is missing '
      'would be black.'
    )
  timm = whole_pixels.ROUNDINGS['transformers']
  if timm.box(crop[1], scale) != box[1]:
    raise errors.UserError(
      f'crop_size={crop_size} is of another shape than size={size}; here, '
      'images are resized to a multiple of what is cropped.'
    )
  return 'central' if shortest else 'stretch', scale, crop


def _box(size, default_to_square):
  """Returns (rows, columns), and whether an image's shortest edge takes them.

  Raises:
    UserError: it is no size, or of a kind that is not understood.
  """
  shortest = type(size) is int and not default_to_square
  if isinstance(size, dict):
    given = {name: value for name, value in size.items() if value is not None}
    shortest = given.keys() == {'shortest_edge'}
    if not shortest and given.keys() != {'height', 'width'}:
      raise errors.UserError(
        f'size={size} is not understood; height and width are, and '
        'shortest_edge.'
      )
    size = given.get('shortest_edge') or [given['height'], given['width']]
  box = told.pair('size', size)
  if box is None:
    raise errors.UserError(f'size={size} is no size of an image.')
  return box, shortest


def _pixels(fields):
  """Returns mean and standard deviation, each of pixels in [0, 1]."""
  factor = told.number('rescale_factor', fields['rescale_factor'])
  mean, std = (0.0,) * 3, (1.0,) * 3
  if fields['do_normalize']:
    mean = told.channels('image_mean', fields['image_mean'])
    std = told.channels('image_std', fields['image_std'])
  # What is normalized is `unit` times a pixel in [0, 1].
  unit = 255 * factor if fields['do_rescale'] else 255
  if unit == 1:
    return mean, std
  if not unit > 0:
    raise errors.UserError(f'rescale_factor={factor} is not above 0.')
  return tuple(m / unit for m in mean), tuple(s / unit for s in std)


def write(card):
  """Returns what the file says of a `card.Card` with an image size."""
  prepared = card.preprocessing
  rule = whole_pixels.ROUNDINGS[prepared.rounding]
  box = [rule.box(side, prepared.scale) for side in card.image_size]
  rows, columns = card.image_size
  content = {
    'image_processor_type': 'ViTImageProcessor',
    'do_resize': True,
    'size': {'height': rows, 'width': columns},
    'resample': _NEAREST[prepared.resize],
    'do_rescale': True,
    'rescale_factor': 1 / 255,
    'do_normalize': True,
    'image_mean': list(prepared.mean),
    'image_std': list(prepared.std),
  }
  if prepared.crop == 'central':
    content['size'] = {'shortest_edge': max(box)}
  elif prepared.crop == 'stretch':
    content['size'] = {'height': box[0], 'width': box[1]}
  if prepared.crop == 'central' or box != [rows, columns]:
    # The class whose every release crops, and takes either size.
    content['image_processor_type'] = 'CLIPImageProcessor'
    content['do_center_crop'] = True
    content['crop_size'] = {'height': rows, 'width': columns}
  return content


def untold(card):
  """Returns sentences: what of the card the file can not say."""
  prepared, said = card.preprocessing, []
  rows, columns = card.image_size
  if prepared.crop == 'letterbox':
    said.append(
      'images are padded to keep their shape (letterbox), which no image '
      'processor of transformers does: it will stretch them.'
    )
  if prepared.crop == 'central' and rows != columns:
    said.append(
      f'images are resized to cover {rows} x {columns} pixels, which '
      'transformers does for squares only: it will resize the shortest edge '
      'to cover the longer side, and crop more.'
    )
  if prepared.resize not in _RESAMPLE.values():
    said.append(
      f'images are resized by {prepared.resize}, which transformers does not '
      f'know: it will use {_RESAMPLE[_NEAREST[prepared.resize]]}.'
    )
  if not prepared.exif_orientation:
    said.append(
      'images are not turned as their EXIF orientation says; transformers '
      'turns those that it opens itself.'
    )
  return said
