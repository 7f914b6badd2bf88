"""Reads a file of released weights into a model.

The format is inferred from the names in the file, where it is not given.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vit_jax import errors, models, pytrees
from vit_jax.weights import fitting, mapping, normalization, preprocessing
from vit_jax.weights.files import npz, sharded, weights_file
from vit_jax.weights.tables import bit, mixer, vit

# Where trainers keep the parameters; what lies elsewhere is their own.
PREFIXES = ('opt/target/', 'params/', '')


@dataclasses.dataclass(frozen=True)
class Format:
  """How to read a kind of file.

  Attributes:
    open: path -> `weights_file.WeightsFile`.
    tables: {pattern of a name: (names in the file) -> rows of `mapping`}, one
      for each family of models; the first of which a name matches counts. No
      format further down has such a name.
    view: brings names and layers into shape.
    position_resize: how its readers resize position embeddings, a key of
      `resizing.METHODS`.
  """

  open: Callable
  tables: dict
  view: Callable = lambda file: file
  position_resize: str = 'corner_aligned'

  def find_table(self, names):
    """Returns the table for a file of the given names; None: there is none."""
    for sign, table in self.tables.items():
      if any(re.fullmatch(sign, name) for name in names):
        return table
    return None

  def rows(self, names):
    """Returns the rows for a file that is said to be of this format."""
    *_, last = self.tables.values()
    return (self.find_table(names) or last)(names)


_NPZ, _SAFETENSORS = npz.NpzFile, sharded.opened
FORMATS = {
  'bit': Format(_NPZ, {r'resnet/.*': bit.table}, bit.view),
  'mixer': Format(_NPZ, {r'MixerBlock_\d+/.*': mixer.table}),
  'big_vision': Format(
    _NPZ,
    {
      r'pos_embedding|MAPHead_0/.*': vit.big_vision_table,
      r'Transformer/(encoderblock/.*|pos_embedding)': vit.big_vision_table,
    },
    vit.big_vision_view,
  ),
  'google': Format(_NPZ, {r'Transformer/.*': vit.table}),
  'timm': Format(
    _SAFETENSORS,
    {
      r'blocks\.\d+\.mlp_tokens\..*': mixer.timm_table,
      r'stem\.conv\.weight': bit.timm_table,
      r'blocks\.\d+\..*': vit.timm_table,
    },
    position_resize='bicubic_antialiased',
  ),
  'huggingface': Format(
    _SAFETENSORS,
    {r'(vit\.)?encoder\.layer\.\d+\..*': vit.huggingface_table},
    position_resize='bicubic',
  ),
}
# The types of transformers that are read.
MODEL_TYPES = ('vit',)
# {family of models: {format: what writes it}}
WRITERS = {
  'hybrid': vit.HYBRID_WRITERS,
  'ViT': vit.WRITERS,
  'BiT': bit.WRITERS,
  'Mixer': mixer.WRITERS,
}


def writer(model_name, format_name):
  """Returns the `tables.Writer` of a model in a format.

  Raises:
    UserError: the format has no such models.
  """
  family = models.family_name(model_name)
  writers = WRITERS[family]
  if format_name not in writers:
    others = ', '.join(f'{name} has' for name in writers)
    raise errors.UserError(
      f'{format_name} has no {models.FAMILIES[family].title} that these '
      f'weights would fit; {others}.'
    )
  return writers[format_name]


@dataclasses.dataclass(frozen=True)
class Opened:
  """A file whose names and shapes are known; its arrays are not read yet."""

  format: str  # A key of FORMATS.
  view: weights_file.View  # {released name: array} of the parameters.
  table: tuple  # Rows of `mapping`.

  def shapes(self, like=None):
    """Returns {our path: shape}.

    Args:
      like: {path: shape} of a model; without it, what PyTorch lays out flat is
        not split into heads.
    """
    headers = {
      name: jax.ShapeDtypeStruct(header.shape, jnp.float32)
      for name, header in self.view.headers.items()
    }
    return jax.eval_shape(
      lambda flat: mapping.to_ours(flat, self.table, like or {}), headers
    )


@contextlib.contextmanager
def opened(path, format_name=None):
  """Yields the `Opened` file.

  Args:
    path: the file; `file.npz:img` takes what is under img/ in it.
    format_name: one of FORMATS; None: as the names in the file tell.

  Raises:
    UserError: no such format, or no such part of the file.
    WeightsFileError: the file is damaged, forged or of another kind.
  """
  file_path, part = split(path)
  if format_name is not None:
    open_file = errors.choose('format', format_name, FORMATS).open
  else:
    open_file = _NPZ if _is_zip(file_path) else _SAFETENSORS
  with open_file(file_path) as file:
    view = _parameters(file, part)
    _check_floats(path, view)
    if format_name is None:
      format_name = _recognise(path, view)
    file_format = FORMATS[format_name]
    view = file_format.view(view)
    yield Opened(format_name, view, file_format.rows(view))


def load(
  path,
  format_name,
  model_params,
  changes=fitting.NONE,
  place=lambda path, array: array,
  prepared=preprocessing.AS_RELEASED,
):
  """Returns the model's parameters with the weights of a file in place.

  Everything is compared before the first array is read; arrays are then read,
  fitted and placed one by one.

  Args:
    path, format_name: see `opened`.
    model_params: see `fitting.fit`.
    changes: how the model may differ from the weights.
    place: (path, NumPy array) -> what becomes a leaf, such as the array on its
      devices.
    prepared: the `preprocessing.Preprocessing` that the weights want; the
      model takes pixels in [-1, 1] all the same.

  Returns:
    (params, report), as `fitting.fit`.

  Raises:
    UserError: no such format, or the weights do not fit the model.
    WeightsFileError: the file is damaged, forged or of another kind.
    MappingError: the file is of another format.
  """
  wanted = pytrees.flatten(model_params)
  together = normalization.STEM if normalization.needed(prepared) else ()
  stem = {}  # What waits for the rest of it.
  with opened(path, format_name) as file:
    shapes = file.shapes(wanted)
    normalization.check(path, shapes, prepared)
    report = fitting.plan(shapes, wanted, changes)
    fit_leaf = fitting.make_fit_leaf(shapes, wanted, changes, report)

    def finish(path, array):
      array = fit_leaf(path, array)
      return None if array is None else place(path, array)

    def finish_or_keep(path, array):
      if path not in together:
        return finish(path, array)
      stem[path] = array
      return None

    flat = mapping.to_ours(file.view, file.table, wanted, finish_or_keep)
  for path, array in normalization.fold(stem, prepared).items():
    flat[path] = finish(path, array)
  return fitting.join(flat, wanted, report), report


def split(path):
  """Returns the path of the file and the part of it that is meant, or ''."""
  for suffix in '.npz', '.safetensors':
    file_path, colon, part = str(path).rpartition(f'{suffix}:')
    if colon:
      return file_path + suffix, part
  return path, ''


def _is_zip(path):
  with weights_file.open_binary(path) as file:
    begins = file.read(2)
  return begins == b'PK' or os.fspath(path).endswith('.npz')


def _recognise(path, names):
  for format_name, file_format in FORMATS.items():
    if file_format.find_table(names):
      return format_name
  shown = sorted(names)
  raise errors.UserError(
    f'{path} is of no known format; it holds {", ".join(shown[:5])} and so on. '
    f'Known: {", ".join(FORMATS)}. Of a file with several models, give one: '
    'file.npz:img.'
  )


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


def _check_floats(path, view):
  for name, header in view.headers.items():
    if not jnp.issubdtype(header.dtype, jnp.floating):
      raise errors.UserError(
        f'{path}: {name} is of dtype {header.dtype}; parameters are floats.'
      )
