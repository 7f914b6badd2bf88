"""Writes parameters as other projects read them, without a flag on their side.

Google's and big_vision's code take an .npz, transformers and timm a folder
with model.safetensors and config.json.
"""

import json
import re
from typing import NamedTuple

from vit_jax import errors, files, models, pytrees
from vit_jax.weights import formats, mapping, normalization, torch_config
from vit_jax.weights.files import npz, safetensors, weights_file

WEIGHTS = 'model.safetensors'
FORMATS = ('google', 'big_vision', 'huggingface', 'timm')
# {format: {field of the model: what its readers compute with}}.
_HELD = {
  'google': {'gelu': 'tanh', 'norm_epsilon': 1e-6},
  'big_vision': {'gelu': 'tanh', 'norm_epsilon': 1e-6},
  'huggingface': {},
  'timm': {'norm_epsilon': 1e-6},
}


class Sizes(NamedTuple):
  """Those of a Transformer or a Mixer; None where a family has no such size.

  patch_size: rows of the kernel that cuts patches.
  """

  width: int | None = None
  depth: int | None = None
  num_heads: int | None = None
  mlp_dim: int | None = None
  patch_size: int | None = None


def sizes(model_name, shapes):
  """Returns the `Sizes` of a model.

  Args:
    model_name: of the model.
    shapes: {path: array or shape} of its parameters.
  """
  kernel = shapes.get('stem/embedding/kernel')
  patch_size = kernel.shape[0] if kernel else None
  measure = models.family(model_name).measure
  if measure is None:
    return Sizes(patch_size=patch_size)
  found = measure({path: leaf.shape for path, leaf in shapes.items()})
  return Sizes(
    found.width,
    found.depth,
    getattr(found, 'num_heads', None),
    found.mlp_dim,
    patch_size,
  )


def save(target, format_name, params, card, sizes):
  """Writes parameters as one of FORMATS.

  Args:
    target: an .npz file; for huggingface and timm, a folder.
    format_name: one of FORMATS.
    params: tree of NumPy arrays by our paths.
    card: a `card.Card` with an image size.
    sizes: the `Sizes` of the model.

  Raises:
    UserError: the format has no place for such a model, or `target` can't be
      written.
  """
  errors.choose('--to', format_name, dict.fromkeys(FORMATS))
  flat = pytrees.flatten(params)
  _check_held(format_name, card)
  if format_name in torch_config.PROJECTS:
    normalization.check(target, flat, card.preprocessing)
    flat = normalization.unfold(flat, card.preprocessing)
  theirs = translate(flat, format_name, card.model.name)
  if format_name not in torch_config.PROJECTS:
    if files.path(target).suffix != '.npz':
      raise errors.UserError(f'{target} should end in .npz, as it will be one.')
    npz.save(target, theirs)
    return
  for name, content in torch_config.files(format_name, card, sizes).items():
    with weights_file.replacing(files.path(target) / name) as file:
      file.write(json.dumps(content, indent=2).encode() + b'\n')
  safetensors.save(files.path(target) / WEIGHTS, theirs, {'format': 'pt'})


def _check_held(format_name, card):
  """Refuses what a reader of the format would compute otherwise."""
  held = {'position_placement': 'stem', **_HELD[format_name]}
  if format_name == 'google' and card.model.position_embedding == 'sincos_2d':
    held['position_embedding'] = 'learned_1d'  # Arrays that would be missing.
  if format_name == 'huggingface' and card.num_classes:
    held['head'] = 'linear'  # Its classifier does not read the pooler.
  for field in held.keys() & set(models.family(card.model.name).fields):
    value, theirs = card.model[field], held[field]
    if value == theirs or (field == 'norm_epsilon' and value < theirs):
      continue  # A smaller epsilon is told by `untold`.
    raise errors.UserError(
      f'The format {format_name} can not hold model.{field}={value}; its '
      f'readers compute with {theirs}. Other formats: '
      f'{", ".join(name for name in FORMATS if name != format_name)}, orbax.'
    )


def untold(format_name, card):
  """Returns sentences: what of a `card.Card` one of FORMATS can not say."""
  said = []
  epsilon = _HELD[format_name].get('norm_epsilon')
  if epsilon and card.model.norm_epsilon < epsilon:
    said.append(
      f'LayerNorm has the epsilon {card.model.norm_epsilon}, and readers '
      f'compute with {epsilon}: logits differ by about as much.'
    )
  if format_name in torch_config.PROJECTS:
    return said + torch_config.untold(format_name, card)
  prepared = card.preprocessing
  said += [
    f'images are prepared by crop={prepared.crop}, resize={prepared.resize}, '
    f'scale={prepared.scale:.4g} and exif_orientation='
    f'{prepared.exif_orientation}, their pixels in [-1, 1]; an .npz does not '
    'say so.'
  ]
  rows, columns = card.image_size
  if rows != columns:
    said.append(
      f'images are of {rows} x {columns} pixels, which an .npz does not say: '
      'whoever reads it takes its positions for those of a square. Here, '
      f'--resolution={rows}x{columns} reads it, unless its number of patches '
      'is a square.'
    )
  if card.class_names:
    said.append('an .npz does not say what classes are called.')
  return said


def translate(flat, format_name, model_name):
  """Returns {released name: array} of {our path: array} of a model.

  Raises:
    UserError: lists the parameters that the format has no place for.
  """
  rows = formats.writer(model_name, format_name).rows(flat)
  try:
    return mapping.to_theirs(flat, rows)
  except mapping.MappingError as error:
    known = [re.match(r'[-+!] (\S+):', line) for line in str(error).split('\n')]
    paths = [match[1] for match in known if match]
    raise errors.UserError(
      f'The format {format_name} has no place for {", ".join(paths[:8])}. '
      'What a user of that format can do without is left out by --exclude; '
      "--exclude='head_hidden/.*|head/.*' takes off the head, say."
    ) from error
