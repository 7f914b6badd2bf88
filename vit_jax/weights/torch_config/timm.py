"""config.json of timm, of which `pretrained_cfg` says how images are prepared.

As timm does by default, `input_size` and `crop_pct` count, not those of a test.
"""

import math

from vit_jax import errors
from vit_jax.data.datasets import class_names
from vit_jax.data.transforms import whole_pixels
from vit_jax.weights import formats
from vit_jax.weights import preprocessing as preparation
from vit_jax.weights.torch_config import timm_models, told

# What timm assumes where a file says nothing.
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_CROP_PCT, _CROP_MODE, _INTERPOLATION = 0.875, 'center', 'bicubic'
_CROPS = {'center': 'central', 'squash': 'stretch', 'border': 'letterbox'}
_METHODS = {
  'bilinear': 'bilinear_antialiased',
  'bicubic': 'bicubic_antialiased',
  'lanczos': 'lanczos_antialiased',
}
# What comes nearest to a method of ours.
_NEAREST = {ours: name for name, ours in _METHODS.items()} | {
  'area': 'bilinear',
  'bilinear': 'bilinear',
  'bicubic': 'bicubic',
}
# {end of a tag: classes} of weights whose classes are ImageNet's. Others that
# are called so have been trained on 21,841 or 11,821 of them.
_TAGS = {'in1k': 1000, 'in21k': 21_843}
_RULE = whole_pixels.ROUNDINGS['timm']


def read(folder):
  """See `torch_config.read`."""
  path = told.config_in(folder)
  if path is not None:
    return told.read_json(path, _read)
  return told.Told(
    position_embedding='none',
    assumed=f'no {told.CONFIG} says how images are prepared; assumed: as those '
    "of Google's releases, in [-1, 1].",
  )


def _read(config):
  arguments = config.get('model_args') or {}
  pretrained = config.get('pretrained_cfg') or config
  architecture = str(config.get('architecture') or '').partition('.')[0]
  said = timm_models.settings(architecture, arguments)
  image_size = _image_size(arguments, pretrained)
  return told.Told(
    said.gelu,
    num_heads=said.num_heads,
    pooling=said.pooling,
    position_embedding='none',
    image_size=image_size,
    class_names=_names(config, pretrained),
    preprocessing=_preprocessing(pretrained, image_size or preparation.NATIVE),
    source=_source(config, pretrained),
  )


def _image_size(arguments, pretrained):
  """Returns (rows, columns) in pixels, or None."""
  input_size = pretrained.get('input_size')
  if input_size and (len(input_size) != 3 or input_size[0] != 3):
    raise errors.UserError(
      f'input_size={input_size} is none of an image with 3 channels.'
    )
  said = told.pair('input_size', input_size and input_size[1:])
  built = told.pair('img_size', arguments.get('img_size'))
  is_fixed = pretrained.get('fixed_input_size') is True
  if said and built and said != built and not is_fixed:
    raise errors.UserError(
      f'input_size={input_size}, and the positions are of '
      f'img_size={arguments["img_size"]}; make them agree.'
    )
  return built or said


def _preprocessing(pretrained, image_size):
  mode = pretrained.get('crop_mode') or _CROP_MODE
  interpolation = pretrained.get('interpolation') or _INTERPOLATION
  return preparation.Preprocessing(
    errors.choose('crop_mode', mode, _CROPS),
    errors.choose('interpolation', interpolation, _METHODS),
    _scale(pretrained.get('crop_pct') or _CROP_PCT, image_size),
    mean=_channels('mean', pretrained.get('mean') or _MEAN),
    std=_channels('std', pretrained.get('std') or _STD),
    rounding='timm',
    exact_jpeg=True,
  )


def _channels(name, values):
  if isinstance(values, list) and len(values) != 3:
    raise errors.UserError(f'{name}={values} is not of 3 channels.')
  return told.channels(name, values)


def _scale(crop_pct, image_size):
  """Returns the scale that gives timm's sizes for images of `image_size`."""
  pct = told.number('crop_pct', crop_pct)
  if not 0 < pct <= 1:
    raise errors.UserError(
      f'crop_pct={pct} is not in (0, 1]; above it, images are padded.'
    )
  boxes = [math.floor(side / pct) for side in image_size]
  # Dividing and multiplying by the inverse rarely differ, by a unit in the
  # last place; then there is another scale for the same sizes.
  for scale in (1 / pct, *(box / n for box, n in zip(boxes, image_size))):
    if [_RULE.box(side, scale) for side in image_size] == boxes:
      return scale
  raise errors.UserError(
    f'crop_pct={pct} resizes {image_size} to {boxes}, which no scale does.'
  )


def _names(config, pretrained):
  """Returns the names that are said, or those of ImageNet where a tag tells."""
  said = next(
    (
      part[name]
      for part in (config, pretrained)
      for name in ('label_names', 'labels')
      if part.get(name)
    ),
    None,
  )
  count = config.get('num_classes') or pretrained.get('num_classes')
  if said:
    return told.names('label_names', said, count)
  tag = str(pretrained.get('tag') or '')
  data = tag.rpartition('_')[2]
  return class_names.imagenet(count) if _TAGS.get(data) == count else None


def _source(config, pretrained):
  architecture = config.get('architecture')
  tag, licence = pretrained.get('tag'), pretrained.get('license')
  name = '.'.join(str(part) for part in (architecture, tag) if part)
  said = {'name': name, 'licence': licence and str(licence)}
  return {key: value for key, value in said.items() if value}


def files(card, sizes):
  """See `torch_config.files`."""
  writer = formats.writer(card.model.name, 'timm')
  architecture, arguments = writer.config(card, sizes)
  rows, columns = card.image_size
  prepared = card.preprocessing
  modes = {ours: mode for mode, ours in _CROPS.items()}
  pretrained = {
    'custom_load': False,
    'input_size': [3, rows, columns],
    'fixed_input_size': sizes.width is not None,
    'interpolation': _NEAREST[prepared.resize],
    'crop_pct': _crop_pct(card),
    'crop_mode': modes[prepared.crop],
    'mean': list(prepared.mean),
    'std': list(prepared.std),
    'num_classes': card.num_classes,
  }
  if card.source.get('licence'):
    pretrained['license'] = card.source['licence']
  config = {
    'architecture': architecture,
    'num_classes': card.num_classes,
    'model_args': {**arguments, 'num_classes': card.num_classes},
    'pretrained_cfg': pretrained,
  }
  return {told.CONFIG: config | _labels(card.class_names)}


def _labels(names):
  """Returns the fields that name classes: synsets, then their words."""
  if names is None:
    return {}
  readable = class_names.readable(names)
  if readable == tuple(names):
    return {'label_names': list(names)}
  return {
    'label_names': list(names),
    'label_descriptions': dict(zip(names, readable)),
  }


def _crop_pct(card):
  """Returns the crop_pct by which timm resizes to the same sides."""
  boxes = _boxes(card)
  ours = 1 / card.preprocessing.scale
  middles = [side / (box + 0.5) for side, box in zip(card.image_size, boxes)]
  for pct in (ours, *middles):
    pct = round(pct, 6)
    if pct <= 1 and _floors(card, pct) == boxes:
      return pct
  return ours


def _boxes(card):
  rule = whole_pixels.ROUNDINGS[card.preprocessing.rounding]
  return [rule.box(side, card.preprocessing.scale) for side in card.image_size]


def _floors(card, pct):
  return [math.floor(side / pct) for side in card.image_size]


def untold(card):
  """See `torch_config.untold`."""
  prepared, said = card.preprocessing, []
  if card.model.gelu != 'erf' and card.model.name.startswith('Mixer'):
    said.append(
      f'its GELU is computed by {card.model.gelu}, and a Mixer of timm has the '
      'exact one: logits differ slightly.'
    )
  if _floors(card, _crop_pct(card)) != _boxes(card):
    said.append(
      f'images are resized to {prepared.scale} times the crop; timm will '
      'round its sides otherwise, by a pixel.'
    )
  if prepared.resize not in _METHODS.values():
    said.append(
      f'images are resized by {prepared.resize}, which timm does not know: it '
      f'will use {_NEAREST[prepared.resize]}, with antialiasing.'
    )
  if prepared.exif_orientation:
    said.append(
      'images are turned as their EXIF orientation says, which timm does not '
      'do.'
    )
  return said
