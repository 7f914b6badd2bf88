"""The config.json beside PyTorch's weights: of transformers and of timm.

Theirs holds what the weights alone do not: the GELU, LayerNorm's epsilon, the
number of heads, and the images to give.
"""

import dataclasses
import pathlib

from vit_jax import errors
from vit_jax.data.datasets import class_names
from vit_jax.weights import card as cards
from vit_jax.weights import formats
from vit_jax.weights import preprocessing as preparation

FILE = 'config.json'

_HIDDEN_ACTS = {
  'gelu': 'erf',
  'gelu_pytorch_tanh': 'tanh',
  'gelu_new': 'tanh',
  'gelu_fast': 'tanh',
}
_ACT_LAYERS = {'gelu': 'erf', 'gelu_tanh': 'tanh'}


@dataclasses.dataclass(frozen=True)
class Told:
  """What a config.json says; None where it says nothing."""

  gelu: str = 'erf'
  norm_epsilon: float = 1e-6
  num_heads: int | None = None
  image_size: tuple[int, int] | None = None
  class_names: tuple[str, ...] | None = None
  preprocessing: preparation.Preprocessing = preparation.AS_RELEASED


def read(folder, format_name):
  """Returns what the config.json in a folder says; defaults without one.

  Raises:
    UserError: it is no such file, or says what this project can't compute.
  """
  huggingface = format_name == 'huggingface'
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    told = _read_huggingface({}) if huggingface else Told()
    return dataclasses.replace(told, num_heads=None)
  try:
    config = cards.read_json(path)
    told = _read_huggingface(config) if huggingface else _read_timm(config)
  except errors.UserError:
    raise
  except (OSError, ValueError, TypeError, AttributeError) as error:
    raise errors.UserError(
      f'{path} does not describe a model of {format_name}: {error}.'
    ) from error
  return told


def _read_huggingface(config):
  known = formats.MODEL_TYPES
  if config.get('model_type', known[0]) not in known:
    raise errors.UserError(
      f'The weights are of a {config["model_type"]!r} of transformers; of '
      f'these, {", ".join(map(repr, known))} is understood.'
    )
  heads = config.get('num_attention_heads', 12)
  if not isinstance(heads, int):
    raise ValueError('num_attention_heads is no number')
  if config.get('qkv_bias', True) is not True:
    raise errors.UserError('A ViT without qkv_bias is none of this project.')
  return Told(
    errors.choose('hidden_act', config.get('hidden_act', 'gelu'), _HIDDEN_ACTS),
    float(config.get('layer_norm_eps', 1e-12)),
    heads,
    _pair(config.get('image_size')),
    preprocessing=preparation.Preprocessing(
      'stretch', 'bilinear_antialiased', 1.0
    ),
  )


def _read_timm(config):
  arguments = config.get('model_args') or {}
  pretrained = config.get('pretrained_cfg') or config
  mean = pretrained.get('mean') or [0.5]
  if any(abs(value - 0.5) > 1e-3 for value in mean):
    raise errors.UserError(
      f'These weights want pixels with the mean {mean} taken off; the models '
      'here take pixels in [-1, 1], a mean of 0.5.'
    )
  heads = arguments.get('num_heads')
  if heads is not None and not isinstance(heads, int):
    raise ValueError('num_heads is no number')
  act_layer = arguments.get('act_layer') or 'gelu'
  gelu = errors.choose('act_layer', act_layer, _ACT_LAYERS)
  size = arguments.get('img_size') or (pretrained.get('input_size') or [])[1:]
  return Told(gelu, num_heads=heads, image_size=_pair(size))


def _pair(size):
  """Returns (rows, columns) of a side or of both; None of nothing."""
  sides = [size] * 2 if isinstance(size, int) else list(size or [])
  if sides and (len(sides) != 2 or not all(type(n) is int for n in sides)):
    raise ValueError(f'{size} is no size of an image')
  return tuple(sides) or None


def huggingface(card, sizes):
  """Returns {file: what it contains} for `from_pretrained` of transformers."""
  config = formats.writer(card.model.name, 'huggingface').config(card, sizes)
  if card.num_classes:
    known = card.class_names
    names = (
      class_names.readable(known) if known else _numbered(card.num_classes)
    )
    config['id2label'] = {str(i): name for i, name in enumerate(names)}
    config['label2id'] = {name: i for i, name in enumerate(names)}
  return {FILE: config, 'preprocessor_config.json': _preprocessor(card)}


def _preprocessor(card):
  rows, columns = card.image_size
  return {
    'image_processor_type': 'ViTImageProcessor',
    'do_resize': True,
    'size': {'height': rows, 'width': columns},
    'resample': 2,  # Bilinear.
    'do_rescale': True,
    'rescale_factor': 1 / 255,
    'do_normalize': True,
    'image_mean': [0.5, 0.5, 0.5],
    'image_std': [0.5, 0.5, 0.5],
  }


def _numbered(count):
  return tuple(f'LABEL_{i}' for i in range(count))


def timm(card, sizes):
  """Returns {file: what it contains} for `create_model` of timm.

  Raises:
    UserError: timm has no such model.
  """
  writer = formats.writer(card.model.name, 'timm')
  architecture, arguments = writer.config(card, sizes)
  rows, columns = card.image_size
  pretrained = {
    'custom_load': False,
    'input_size': [3, rows, columns],
    'fixed_input_size': sizes.width is not None,
    'interpolation': 'bicubic',
    'crop_pct': 0.875,
    'crop_mode': 'center',
    'mean': [0.5, 0.5, 0.5],
    'std': [0.5, 0.5, 0.5],
    'num_classes': card.num_classes,
  }
  config = {
    'architecture': architecture,
    'num_classes': card.num_classes,
    'model_args': {**arguments, 'num_classes': card.num_classes},
    'pretrained_cfg': pretrained,
  }
  if card.class_names:
    config['label_names'] = list(card.class_names)
  return {FILE: config}
