"""Reads a file of released weights into a model.

The format is said, not guessed: the same names mean different things in files
of different origin.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vit_jax import errors, pytrees
from vit_jax.checkpoints import (
  big_vision,
  bit,
  google,
  huggingface,
  mapping,
  mixer,
  npz,
  pretrained,
  safetensors_file,
  timm,
  weights_file,
)

# Where trainers keep the parameters; what lies elsewhere is their own.
PREFIXES = ('opt/target/', 'params/', '')


@dataclasses.dataclass(frozen=True)
class Format:
  """How to read a kind of file."""

  open: Callable  # path -> `weights_file.WeightsFile`.
  table: Callable  # Names -> rows of `mapping`.
  view: Callable = lambda file: file  # Brings names and layers into shape.


FORMATS = {
  'google': Format(npz.NpzFile, google.table),
  'big_vision': Format(npz.NpzFile, big_vision.table, big_vision.view),
  'mixer': Format(npz.NpzFile, mixer.table),
  'bit': Format(npz.NpzFile, bit.table, bit.view),
  'huggingface': Format(safetensors_file.SafetensorsFile, huggingface.table),
  'timm': Format(safetensors_file.SafetensorsFile, timm.table),
}


def load(path, format_name, model_params, changes=pretrained.NONE):
  """Returns the model's parameters with the weights of a file in place.

  Everything is compared before the first array is read; arrays are then read
  one by one.

  Args:
    path: the file; `file.npz:img` takes what is under img/ in it.
    format_name: one of FORMATS.
    model_params: as of `pretrained.fit`.
    changes: how the model may differ from the weights.

  Returns:
    (params, report), as `pretrained.fit`.

  Raises:
    UserError: no such format, or the weights do not fit the model.
    WeightsFileError: the file is damaged, forged or of another kind.
    MappingError: the file is of another format.
  """
  file_format = errors.choose('format', format_name, FORMATS)
  file_path, part = _split(path)
  wanted = pytrees.flatten(model_params)
  with file_format.open(file_path) as file:
    view = file_format.view(_parameters(file, part))
    table = file_format.table(view)
    shapes = jax.eval_shape(
      lambda flat: mapping.to_ours(flat, table, wanted), _shapes(path, view)
    )
    pretrained.plan(shapes, wanted, changes)
    flat = mapping.to_ours(view, table, wanted)
  return pretrained.fit(flat, model_params, changes)


def _split(path):
  """Returns the path of the file and the part of it that is meant, or ''."""
  for suffix in '.npz', '.safetensors':
    file_path, colon, part = str(path).rpartition(f'{suffix}:')
    if colon:
      return file_path + suffix, part
  return path, ''


def _parameters(file, part):
  """Returns the view of the parameters, or of one part of them."""
  prefix = next(
    prefix
    for prefix in PREFIXES
    if not prefix or any(name.startswith(prefix) for name in file)
  )
  view = weights_file.part(file, prefix + (f'{part}/' if part else ''))
  if not view:
    parts = sorted({name.removeprefix(prefix).split('/')[0] for name in file})
    raise errors.UserError(
      f'{file.path} has no parameters under {part or "any name"!r}; it has '
      f'{", ".join(parts[:20]) or "nothing"}.'
    )
  return view


def _shapes(path, view):
  """Returns {name: shape}; all as float32, which is what they become."""
  for name, header in view.headers.items():
    if not jnp.issubdtype(header.dtype, jnp.floating):
      raise errors.UserError(
        f'{path}: {name} is of dtype {header.dtype}; parameters are floats.'
      )
  return {
    name: jax.ShapeDtypeStruct(header.shape, jnp.float32)
    for name, header in view.headers.items()
  }
