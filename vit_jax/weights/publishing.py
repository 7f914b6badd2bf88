"""Writes parameters as other projects read them, without a flag on their side.

Google's and big_vision's code take an .npz, transformers and timm a folder
with model.safetensors and config.json.
"""

import json
import pathlib
import re

from vit_jax import errors, pytrees
from vit_jax.weights import mapping, positions, torch_config
from vit_jax.weights.files import npz, safetensors, weights_file
from vit_jax.weights.tables import (
  big_vision,
  bit,
  huggingface,
  mixer,
  timm,
  vit,
)

WEIGHTS = 'model.safetensors'
FORMATS = ('google', 'big_vision', 'huggingface', 'timm')


def save(target, format_name, params, card):
  """Writes parameters as one of FORMATS.

  Args:
    target: an .npz file; for huggingface and timm, a folder.
    format_name: one of FORMATS.
    params: tree of NumPy arrays by our paths.
    card: a `torch_config.Card`.

  Raises:
    UserError: the format has no place for such a model, or `target` can't be
      written.
  """
  errors.choose('--to', format_name, dict.fromkeys(FORMATS))
  flat = pytrees.flatten(params)
  theirs = translate(flat, format_name)
  if format_name in ('google', 'big_vision'):
    if pathlib.Path(target).suffix != '.npz':
      raise errors.UserError(f'{target} should end in .npz, as it will be one.')
    npz.save(target, theirs)
    return
  describe = getattr(torch_config, format_name)
  for name, content in describe(card).items():
    with weights_file.replacing(pathlib.Path(target) / name) as file:
      file.write(json.dumps(content, indent=2).encode() + b'\n')
  safetensors.save(pathlib.Path(target) / WEIGHTS, theirs, {'format': 'pt'})


def translate(flat, format_name):
  """Returns {released name: array} of {our path: array}.

  Raises:
    UserError: lists the parameters that the format has no place for.
  """
  rows = _rows(flat, format_name)
  try:
    return mapping.to_theirs(flat, rows)
  except mapping.MappingError as error:
    known = [re.match(r'[-+!] (\S+):', line) for line in str(error).split('\n')]
    paths = [match[1] for match in known if match]
    raise errors.UserError(
      f'The format {format_name} has no place for {", ".join(paths[:8])}. '
      'What a user of that format can do without is left out by --drop; '
      "--drop='head_hidden/.*|head/.*' takes off the head, say."
    ) from error


def _rows(flat, format_name):
  """Returns the rows that a model of these parameters needs."""
  if 'block_0/token_mlp/hidden/kernel' in flat:
    rows = {'timm': timm.mixer_rows()}
    return rows.get(format_name) or _only_npz(format_name, 'Mixer', mixer.rows)
  if 'root_conv/kernel' in flat:
    rows = {'timm': timm.resnet_rows()}
    return rows.get(format_name) or _only_npz(format_name, 'BiT', bit.rows)
  if format_name == 'google':
    return vit.rows()
  if format_name == 'big_vision':
    return big_vision.rows(class_token='class_token' in flat)
  _check_complete(flat, format_name)
  if format_name == 'huggingface':
    return huggingface.rows('vit.' if 'head/kernel' in flat else '')
  has_units = any(path.startswith('stem/block_') for path in flat)
  return timm.vit_rows() if has_units else timm.vit_rows(timm.BACKBONE)


def _check_complete(flat, format_name):
  """Refuses what a reader would have to make up."""
  needed = [positions.PATH]
  if format_name == 'huggingface':
    needed.append('class_token')
  missing = [path for path in needed if path not in flat]
  if missing:
    raise errors.UserError(
      f'A ViT of {format_name} has {" and ".join(missing)}, which this model '
      'has not.'
    )


def _only_npz(format_name, family, rows):
  if format_name == 'huggingface':
    raise errors.UserError(
      f'transformers has no {family} that these weights would fit; timm has.'
    )
  return rows()
