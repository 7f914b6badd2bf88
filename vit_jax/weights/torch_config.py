"""The config.json beside PyTorch's weights: of transformers and of timm.

Theirs tells what the weights alone do not: the GELU, LayerNorm's epsilon, the
number of heads, and the images to give.
"""

import dataclasses
import json
import math
import pathlib

from vit_jax import errors

FILE = 'config.json'
MAX_BYTES = 16 << 20  # 21,843 class names, twice over, take 3.

_HIDDEN_ACTS = {
  'gelu': 'erf',
  'gelu_pytorch_tanh': 'tanh',
  'gelu_new': 'tanh',
  'gelu_fast': 'tanh',
}
_ACT_LAYERS = {'gelu': 'erf', 'gelu_tanh': 'tanh'}


@dataclasses.dataclass(frozen=True)
class Card:
  """What one has to know of a model to publish it.

  Attributes:
    name: as the configuration has it.
    image_size: (rows, columns) in pixels.
    num_classes: outputs of the head; 0: there is none.
    pooling, gelu, norm_epsilon: as the configuration has them.
    width, depth, num_heads, mlp_dim: of a Transformer; num_heads is None for
      a Mixer, and all of them are for a ResNet.
    patch_size: rows of the kernel that cuts patches; None for a ResNet.
    class_names: tuple of num_classes names, or None.
  """

  name: str
  image_size: tuple[int, int]
  num_classes: int
  pooling: str = 'class_token'
  gelu: str = 'tanh'
  norm_epsilon: float = 1e-6
  width: int | None = None
  depth: int | None = None
  num_heads: int | None = None
  mlp_dim: int | None = None
  patch_size: int | None = None
  class_names: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Told:
  """What a config.json says; None where it says nothing."""

  gelu: str = 'erf'
  norm_epsilon: float = 1e-6
  num_heads: int | None = None
  image_size: tuple[int, int] | None = None


def read(folder, format_name):
  """Returns what the config.json in a folder tells; defaults without one.

  Raises:
    UserError: it is no such file, or says what this project can't compute.
  """
  huggingface = format_name == 'huggingface'
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    return Told(norm_epsilon=1e-12 if huggingface else 1e-6)
  try:
    if path.stat().st_size > MAX_BYTES:
      raise ValueError(f'over {MAX_BYTES} bytes')
    config = json.loads(path.read_bytes())
    told = _read_huggingface(config) if huggingface else _read_timm(config)
  except errors.UserError:
    raise
  except (OSError, ValueError, TypeError, AttributeError) as error:
    raise errors.UserError(
      f'{path} does not describe a model of {format_name}: {error}.'
    ) from error
  return told


def _read_huggingface(config):
  if config.get('model_type', 'vit') != 'vit':
    raise errors.UserError(
      f'The weights are of a {config["model_type"]!r} of transformers; of '
      "these, 'vit' is understood."
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


def huggingface(card):
  """Returns {file: what it contains} for `from_pretrained` of transformers."""
  rows, columns = card.image_size
  config = {
    'architectures': [
      'ViTForImageClassification' if card.num_classes else 'ViTModel'
    ],
    'model_type': 'vit',
    'dtype': 'float32',
    'hidden_size': card.width,
    'num_hidden_layers': card.depth,
    'num_attention_heads': card.num_heads,
    'intermediate_size': card.mlp_dim,
    'hidden_act': 'gelu' if card.gelu == 'erf' else 'gelu_pytorch_tanh',
    'layer_norm_eps': card.norm_epsilon,
    'hidden_dropout_prob': 0.0,
    'attention_probs_dropout_prob': 0.0,
    'image_size': rows if rows == columns else [rows, columns],
    'patch_size': card.patch_size,
    'num_channels': 3,
    'qkv_bias': True,
  }
  if card.num_classes:
    names = card.class_names or _numbered(card.num_classes)
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


# Names of timm by ours; for a plain ViT and a Mixer any will do that exists,
# since the arguments tell all of its sizes.
_TIMM_SIZES = {
  'Ti': 'tiny',
  'S': 'small',
  'B': 'base',
  'L': 'large',
  'H': 'huge',
  'g': 'giant',
  'G': 'gigantic',
}
_TIMM_VITS = (
  *('tiny_patch16', 'small_patch8', 'small_patch16', 'small_patch32'),
  *('base_patch8', 'base_patch16', 'base_patch32', 'large_patch14'),
  *('large_patch16', 'large_patch32', 'huge_patch14', 'giant_patch14'),
  'gigantic_patch14',
)
_TIMM = {
  'R+ViT-Ti/16': 'vit_tiny_r_s16_p8_224',
  'R26+ViT-S/32': 'vit_small_r26_s32_224',
  'R26+ViT-B/32': 'vit_base_r26_s32_224',
  'R50+ViT-B/16': 'vit_base_r50_s16_224',
  'R50+ViT-L/32': 'vit_large_r50_s32_224',
  'BiT-R50x1': 'resnetv2_50x1_bit',
  'BiT-R50x3': 'resnetv2_50x3_bit',
  'BiT-R101x1': 'resnetv2_101x1_bit',
  'BiT-R101x3': 'resnetv2_101x3_bit',
  'BiT-R152x2': 'resnetv2_152x2_bit',
  'BiT-R152x4': 'resnetv2_152x4_bit',
}
_TIMM_POOLS = {'class_token': 'token', 'average': 'avg', 'attention': 'map'}


def timm(card):
  """Returns {file: what it contains} for `create_model` of timm.

  Raises:
    UserError: timm has no such model.
  """
  if card.name.startswith('Mixer'):
    architecture, arguments = 'mixer_b16_224', _timm_mixer(card)
  elif card.name.startswith('ViT'):
    architecture, arguments = _timm_architecture(card), _timm_vit(card)
  else:
    architecture = errors.choose('The model for timm', card.name, _TIMM)
    arguments = _timm_vit(card) if card.width else {}
  rows, columns = card.image_size
  pretrained = {
    'custom_load': False,
    'input_size': [3, rows, columns],
    'fixed_input_size': card.width is not None,
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


def _timm_architecture(card):
  size = _TIMM_SIZES.get(card.name.partition('-')[2].partition('/')[0])
  known = f'{size}_patch{card.patch_size}'
  return f'vit_{known if known in _TIMM_VITS else "base_patch16"}_224'


def _timm_vit(card):
  return {
    'img_size': list(card.image_size),
    'patch_size': card.patch_size,
    'embed_dim': card.width,
    'depth': card.depth,
    'num_heads': card.num_heads,
    'mlp_ratio': _ratio(card),
    'act_layer': 'gelu' if card.gelu == 'erf' else 'gelu_tanh',
    'class_token': card.pooling == 'class_token',
    'global_pool': _TIMM_POOLS[card.pooling],
    'fc_norm': False,
  }


def _timm_mixer(card):
  """Its GELU is the exact one: timm takes no other by name."""
  return {
    'img_size': list(card.image_size),
    'patch_size': card.patch_size,
    'num_blocks': card.depth,
    'embed_dim': card.width,
  }


def _ratio(card):
  """Returns what timm multiplies the width by, and then rounds down."""
  ratio = card.mlp_dim / card.width
  exact = int(card.width * ratio) == card.mlp_dim
  return ratio if exact else math.nextafter(ratio, math.inf)
