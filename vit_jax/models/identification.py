"""Which model parameters are of, by their paths and shapes."""

import dataclasses
import math
import re

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.models import hybrid, mixer, resnet, vit

_POSITIONS = 'encoder/position_embedding/embedding'
_STEM = 'stem/embedding/kernel'


@dataclasses.dataclass(frozen=True)
class Identity:
  """What parameters tell of their model.

  Attributes:
    fields: {field: value} of the configuration's part `model`.
    num_classes: outputs of the head; 0: there is none.
    image_size: (rows, columns) in pixels that they were trained on; None where
      they fit any.
  """

  fields: dict
  num_classes: int
  image_size: tuple[int, int] | None


def identify(shapes, name=None, num_heads=None):
  """Returns the `Identity` of parameters.

  Where there are no position embeddings, they are taken to be sines and
  cosines: no model was released without any.

  Args:
    shapes: {path: shape} by our paths; projections to heads may be flat, as
      [width, width], where a named model tells the heads.
    name: of the model, if known, as in the configuration; 'ViT-S/16-gap', with
      what pools by averaging said in the name, is understood too.
    num_heads: if known; None: as the shapes or the name say.

  Raises:
    UserError: they are of no model that this project has.
  """
  name = name and name.removesuffix('-gap')
  if 'root_conv/kernel' in shapes:
    fields, image_size = _resnet(shapes, name)
  elif 'block_0/token_mlp/hidden/kernel' in shapes:
    fields, image_size = _mixer(shapes, name)
  elif 'encoder/block_0/mlp/hidden/kernel' in shapes and _STEM in shapes:
    fields, image_size = _vit(shapes, name, num_heads)
  else:
    shown = ', '.join(sorted(shapes)[:5])
    raise errors.UserError(
      f'These parameters are of no model that is known: {shown} and so on.'
    )
  num_classes = shapes.get('head/kernel', (0,))[-1]
  return Identity(fields, num_classes, image_size)


def _vit(shapes, name, num_heads):
  found = vit.Size(
    width=shapes[_STEM][-1],
    depth=_count(shapes, r'encoder/block_(\d+)/mlp/hidden/kernel'),
    mlp_dim=shapes['encoder/block_0/mlp/hidden/kernel'][1],
    num_heads=_num_heads(shapes) or num_heads,
  )
  fields = {'name': name} if name else _name_of_vit(shapes, found)
  if 'class_token' in shapes:
    fields['pooling'] = 'class_token'
  else:
    mapped = 'pooling/probe' in shapes
    fields['pooling'] = 'attention' if mapped else 'average'
  if 'head_hidden/kernel' in shapes:
    fields['head'] = 'pre_logits'
  if _POSITIONS not in shapes:
    return {**fields, 'position_embedding': 'sincos_2d'}, None
  num_patches = shapes[_POSITIONS][1] - ('class_token' in shapes)
  return fields, _image_size(num_patches, schema.patch_size(fields['name']))


def _name_of_vit(shapes, found):
  """Returns the name, and the fields in which the model differs from it."""
  backbone = _backbone(shapes)
  for size_name, size in vit.SIZES.items():
    heads = found.num_heads or size.num_heads
    if dataclasses.replace(found, num_heads=heads) == size:
      return {'name': _join(backbone, size_name)}
  if found.num_heads is None:
    raise errors.UserError(
      f'No model of width {found.width}, {found.depth} layers and '
      f'{found.mlp_dim} hidden units is known, and the file does not tell the '
      'number of heads. A config.json beside it would; so would the name of '
      'the model.'
    )
  # Any size will do, since the fields tell; of hybrids, one that is known.
  sizes = [name for name in vit.SIZES if _join(backbone, name) in hybrid.NAMES]
  like = _join(backbone, sizes[0] if sizes else 'B')
  return {'name': like, **dataclasses.asdict(found)}


def _backbone(shapes):
  """Returns what precedes the Transformer, as a name writes it around it."""
  rows, columns = shapes[_STEM][:2]
  if rows != columns:
    raise errors.UserError(
      f'Patches are squares here; those of the file have {rows} x {columns} '
      'pixels.'
    )
  if 'stem/root_conv/kernel' not in shapes:
    return '', rows
  units = _units(shapes, 'stem/block_')
  for name, backbone in hybrid.BACKBONES.items():
    if backbone == hybrid.Backbone(units, rows):
      resnet_name, _, patch_size = name.partition('/')
      return f'{resnet_name}+', patch_size
  raise errors.UserError(
    f'No hybrid has a ResNet of {units} units and patches of {rows}; known '
    f'are {", ".join(hybrid.BACKBONES)}.'
  )


def _join(backbone, size_name):
  return f'{backbone[0]}ViT-{size_name}/{backbone[1]}'


def _num_heads(shapes):
  query = shapes['encoder/block_0/attention/query/kernel']
  return query[1] if len(query) == 3 else None


def _mixer(shapes, name):
  found = mixer.Size(
    width=shapes[_STEM][-1],
    depth=_count(shapes, r'block_(\d+)/token_mlp/hidden/kernel'),
    mlp_dim=shapes['block_0/channel_mlp/hidden/kernel'][1],
    token_mlp_dim=shapes['block_0/token_mlp/hidden/kernel'][1],
  )
  patch_size = shapes[_STEM][0]
  fields = {'name': name}
  if not name:
    fields = _name_of_mixer(found, patch_size)
  num_patches = shapes['block_0/token_mlp/hidden/kernel'][0]
  return fields, _image_size(num_patches, patch_size)


def _name_of_mixer(found, patch_size):
  for size_name, size in mixer.SIZES.items():
    if found.token_mlp_dim == size.token_mlp_dim:
      fields = {'name': f'Mixer-{size_name}/{patch_size}'}
      given = dataclasses.asdict(found)
      del given['token_mlp_dim']
      return fields if found == size else {**fields, **given}
  known = ', '.join(str(size.token_mlp_dim) for size in mixer.SIZES.values())
  raise errors.UserError(
    f'No Mixer mixes patches in {found.token_mlp_dim} hidden units; known: '
    f'{known}.'
  )


def _resnet(shapes, name):
  if name:
    return {'name': name}, None
  units = _units(shapes, 'block_')
  factor = shapes['root_conv/kernel'][-1] // 64
  for depth, known in resnet.UNITS.items():
    if units == known:
      return {'name': f'BiT-{depth}x{factor}'}, None
  raise errors.UserError(
    f'No BiT has blocks of {units} units; known: {resnet.UNITS}.'
  )


def _units(shapes, block):
  """Returns how many units each block of a ResNet has."""
  num_blocks = _count(shapes, rf'{block}(\d+)/unit_1/conv_1/kernel')
  return tuple(
    _count(shapes, rf'{block}{number + 1}/unit_(\d+)/conv_1/kernel')
    for number in range(num_blocks)
  )


def _count(shapes, pattern):
  return sum(bool(re.fullmatch(pattern, path)) for path in shapes)


def _image_size(num_patches, patch_size):
  """Returns the image that a square grid of patches covers; None: no square."""
  side = math.isqrt(max(0, num_patches))
  if not patch_size or side**2 != num_patches:
    return None
  return side * patch_size, side * patch_size
