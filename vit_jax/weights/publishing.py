"""Writes parameters as other projects read them, without a flag on their side.

Google's and big_vision's code take an .npz, transformers and timm a folder
with model.safetensors and config.json.
"""

import json
import pathlib
import re

from vit_jax import errors, pytrees
from vit_jax.weights import formats, mapping, torch_config
from vit_jax.weights.files import npz, safetensors, weights_file

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
  theirs = translate(flat, format_name, card.name)
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
      'What a user of that format can do without is left out by --drop; '
      "--drop='head_hidden/.*|head/.*' takes off the head, say."
    ) from error
