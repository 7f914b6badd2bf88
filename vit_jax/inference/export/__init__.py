"""Models for production: written so that they run without this library.

Beside the model there is a card, OUT.json, which says what a program that runs
it has to know. Nothing is written before its outputs have been compared with
the model's own.
"""

import dataclasses
import importlib.util
import pathlib
import shutil
import sys
import tempfile

from vit_jax import errors, files, models
from vit_jax.files import folders
from vit_jax.inference.export import (
  checking,
  description,
  onnx,
  savedmodel,
  stablehlo,
)
from vit_jax.inference.export import program as programs
from vit_jax.weights import loading, preprocessing

FORMATS = {'stablehlo': stablehlo, 'onnx': onnx, 'savedmodel': savedmodel}
EXTRAS = {'stablehlo': 'export', 'onnx': 'onnx', 'savedmodel': 'savedmodel'}


def run(
  checkpoint,
  target,
  to='stablehlo',
  model_name=None,
  resolution=None,
  position_resize=None,
  output='probabilities',
  pixels='uint8',
  dtype=None,
):
  """Exports weights and returns lines that say what was written.

  Args:
    checkpoint, model_name, position_resize: see `loading.find`.
    target, to, output, pixels: see `write`.
    resolution: (side,) or (rows, columns) in pixels; None: as trained.
    dtype: of the computation, one of `models.DTYPES`; None: that of the model.

  Raises:
    UserError: there are no such weights, or see `write`.
  """
  _check_target(target, to)
  found = loading.find(checkpoint, model_name, position_resize=position_resize)
  programs.check(found.card, output, pixels)
  if dtype is not None:
    found = _computing_in(found, dtype)
  if found.entry and found.entry.note:
    print(f'{found.entry.name}: {found.entry.note}', file=sys.stderr)
  image_size = preprocessing.image_size(found.card, resolution)
  module, params = loading.load(found, image_size)
  said = write(
    target,
    module,
    params,
    found.card,
    image_size,
    to=to,
    output=output,
    pixels=pixels,
  )
  return summary(target, said)


def write(
  path,
  module,
  params,
  card,
  image_size,
  *,
  to='stablehlo',
  output='probabilities',
  pixels='uint8',
):
  """Writes a model and its card, whole or not at all.

  Args:
    path: where nothing is yet, also in a store: a file; for savedmodel a
      folder. The card is beside it, at `path` and '.json'.
    module: the linen module.
    params: its parameters.
    card: its `card.Card`.
    image_size: (rows, columns) in pixels, which the parameters fit.
    to: a key of `FORMATS`.
    output: 'probabilities', 'logits' or 'features', which the head reads.
    pixels: 'uint8', from 0 to 255, or 'float32', from -1 to 1.

  Returns:
    The content of the card, a dict.

  Raises:
    UserError: there is something already, it can't be written, a package is
      missing, the format has no place for such a model, or what was written
      differs from the model.
  """
  _check_target(path, to)
  form = FORMATS[to]
  program = programs.build(
    params, card, image_size, output=output, pixels=pixels
  )
  _check_fits(program, card, form, to)
  with tempfile.TemporaryDirectory() as folder:
    made = pathlib.Path(folder, files.path(path).name)
    form.save(program, made)
    call = form.load(made, program)
    checked = checking.difference(call, program, module, params)
    parts = _parts(made)
    digests = description.digest_all(parts)
    said = description.describe(program, card, to, digests, checked)
    _put(parts, path, made.is_dir(), said)
  return said


def summary(path, said):
  """Returns lines that tell what was written at `path`, of its card."""
  size = sum(file['bytes'] for file in said['files'].values())
  shown = {
    part: 'x'.join(map(str, said[part]['shape']))
    for part in ('input', 'output')
  }
  checked = said['largest_difference']
  return (
    f'{path}: {said["model"]}, {said["input"]["dtype"]} {shown["input"]} to '
    f'{said["output"]["name"]} {shown["output"]}, {size / 1e6:.1f} MB, as '
    f'{said["format"]}\n{description.beside(path)}: its card\n'
    f'largest difference from the model: {checked["from_the_model"]:.1e} '
    f'({checked["of"]}, {checked["images"]} images)'
  )


def _check_target(target, to):
  """Refuses what can be refused before any work."""
  form = errors.choose('--to', to, FORMATS)
  for path in files.path(target), description.beside(target):
    with files.asking(path):
      is_there = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if is_there:
      raise errors.UserError(
        f'{path} is there already; remove it, or give another target.'
      )
  missing = [name for name in form.PACKAGES if not _is_installed(name)]
  if missing:
    raise errors.UserError(
      f'--to={to} needs {" and ".join(missing)}: '
      f"pip install 'vit_jax[{EXTRAS[to]}]'."
    )


def _is_installed(package):
  try:
    return importlib.util.find_spec(package) is not None
  except ModuleNotFoundError:  # Of the package that it is in.
    return False


def _check_fits(program, card, form, to):
  reason = form.refuse(program)
  if form.MAX_BYTES and program.num_bytes > form.MAX_BYTES:
    reason = (
      f'its parameters take {program.num_bytes / 1e9:.1f} GB, and such a file '
      f'holds no more than {form.MAX_BYTES / 1e9:.1f} GB; '
      '--to=savedmodel has no such limit'
    )
  if reason:
    title = models.family(card.model.name).title
    raise errors.UserError(
      f'{card.model.name}, a {title}, can not be exported to {to}: {reason}.'
    )


def _computing_in(found, dtype):
  errors.choose('--dtype', dtype, dict.fromkeys(models.DTYPES))
  model = found.model.copy_and_resolve_references()
  model.dtype = dtype
  card = dataclasses.replace(found.card, model=model)
  return dataclasses.replace(found, card=card)


def _parts(made):
  """Returns {name: local path} of the files of what was made."""
  if not made.is_dir():
    return {made.name: made}
  paths = sorted(path for path in made.rglob('*') if path.is_file())
  paths.sort(key=lambda path: path.name == savedmodel.LAST)
  return {str(path.relative_to(made)): path for path in paths}


def _put(parts, path, is_folder, said):
  """Brings files and their card to where the user wants them.

  The card comes last; where anything fails, nothing stays.
  """
  path = files.path(path)
  try:
    for name, part in parts.items():
      target = path / name if is_folder else path
      with open(part, 'rb') as source, files.saving(target) as file:
        shutil.copyfileobj(source, file, 1 << 20)
    description.write(path, said)
  except BaseException:
    if is_folder:
      folders.remove(path, first=(savedmodel.LAST,))
    else:
      path.unlink(missing_ok=True)
    raise
