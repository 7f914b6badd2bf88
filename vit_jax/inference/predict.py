"""Images in; the likeliest classes, or logits and features, out."""

import functools
import os
import sys

import jax
import numpy as np

from vit_jax import errors, files
from vit_jax.data import names as spelling
from vit_jax.inference import inputs
from vit_jax.weights import loading, preprocessing

BATCH_SIZE = 8
TOP = 5


def run(
  checkpoint,
  source,
  model_name=None,
  resolution=None,
  top=None,
  logits_path=None,
  features_path=None,
  position_resize=None,
  tell=None,
):
  """Classifies images and prints the classes, or writes arrays.

  Args:
    checkpoint, model_name: see `loading.find`.
    source: an image, a folder of images, several of these in a list or parted
      by commas, or an .npy of float32 pixels in [-1, 1], [batch, height, width,
      3].
    resolution: (side,) or (rows, columns) in pixels; None: as the weights were
      trained, or as large as the arrays are.
    top: number of classes to print; None: `TOP`, or none where arrays are
      written.
    logits_path: .npy that takes float32 [images, classes].
    features_path: .npy that takes float32 [images, width], what the head reads.
    position_resize: see `loading.find`.
    tell: tell(path, [(class name, probability)], what is wrong with the image
      or None) is called for each image in place of printing its classes.

  Returns:
    The exit status: 1 where an image could not be read, else 0. Its rows in
    the arrays are not numbers.

  Raises:
    UserError: there are no such weights or images, or they don't fit together.
  """
  _check_outputs(logits_path, features_path)
  if top is None and not (logits_path or features_path):
    top = TOP
  found = loading.find(checkpoint, model_name, position_resize=position_resize)
  images = open_images(source, found, resolution)
  predict = _make_predict(found, images.size, top or logits_path)
  if found.entry and found.entry.note:
    print(f'{found.entry.name}: {found.entry.note}', file=sys.stderr)
  names = found.card.names()
  results, is_whole = [], True
  for labels, pixels, problems in images.batches():
    for label, problem in zip(labels, problems):
      if problem:
        line = f'vit_jax: {spelling.shown(label)}: {problem}'
        print(errors.shown(line), file=sys.stderr)
        is_whole = False
    result = _without_bad(predict(pixels), problems)
    results.append(result)
    if top or tell:
      for label, row, problem in zip(labels, result[0], problems):
        classes = [] if problem else likeliest(row, names, top or 0)
        (tell or _print)(label, classes, problem)
  for index, path in enumerate((logits_path, features_path)):
    if path:
      _save(path, np.concatenate([result[index] for result in results]))
  return 0 if is_whole else 1


def _check_outputs(*paths):
  for path in paths:
    if path and files.path(path).suffix != '.npy':
      raise errors.UserError(f'{path} should end in .npy, as it will be one.')


def _make_predict(found, size, needs_logits):
  """Returns predict(float32 pixels), which gives (logits, features)."""
  if needs_logits and not found.num_classes:
    raise errors.UserError(
      'These weights have no head, and so no classes; --features=FILE.npy '
      'writes what a head would read.'
    )
  return functools.partial(forward, *loading.load(found, size))


def forward(module, params, pixels):
  """Returns logits [batch, classes] and features [batch, width], float32.

  There are 0 classes without a head.

  Args:
    module: what `models.build` returns; compiled once for all of its kind.
    params: its parameters.
    pixels: float32 [batch, height, width, 3], in [-1, 1].
  """
  # An image's classes should not depend on what computes them.
  with jax.default_matmul_precision('highest'):
    logits, features = _forward(module, params, pixels)
  if logits is None:
    logits = np.zeros((len(pixels), 0), np.float32)
  return np.asarray(logits, np.float32), np.asarray(features, np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _forward(module, params, pixels):
  output = module.apply({'params': params}, pixels, train=False)
  return output.logits, output.pooled


def _without_bad(result, problems):
  """Returns arrays without padding, whose rows of bad images are NaN."""
  bad = np.array([problem is not None for problem in problems])
  result = [array[: len(bad)].copy() for array in result]
  for array in result:
    array[bad] = np.nan
  return result


def _print(path, classes, problem):
  if problem:
    return
  print(errors.shown(spelling.shown(path)))
  for name, probability in classes:
    print(errors.shown(f'  {probability:7.2%}  {name}'))


def likeliest(logits, names, top):
  """Returns [(name, probability)] of the likeliest classes, the first first.

  Args:
    logits: float32 [classes].
    names: of the classes.
    top: how many.
  """
  if not top:
    return []
  shifted = np.exp(logits - logits.max())
  probabilities = shifted / shifted.sum()
  order = np.argsort(-probabilities, kind='stable')[:top]
  return [(names[index], float(probabilities[index])) for index in order]


def _save(path, array):
  with files.saving(path) as file:
    np.save(file, array, allow_pickle=False)


def open_images(source, found, resolution):
  """Returns the images of a source, `inputs.Arrays` or `inputs.Images`.

  Args:
    source, resolution: see `run`.
    found: the `loading.Weights` that will see them.

  Raises:
    UserError: there are none, or arrays are not of that resolution.
  """
  array = _array(source)
  if array is not None:
    images = inputs.Arrays(array, BATCH_SIZE)
    if resolution and (resolution * 2)[:2] != images.size:
      raise errors.UserError(
        f'{array} holds images of {images.size} pixels, and --resolution '
        f'asks for {resolution}; pixels of an array are not resized.'
      )
    return images
  size = preprocessing.image_size(found.card, resolution)
  paths = inputs.find(source)
  chain = found.card.preprocessing.chain(size)
  return inputs.Images(paths, chain, size, BATCH_SIZE)


def _array(source):
  """Returns the path of the one .npy that is meant, or None.

  Raises:
    UserError: there are several, or images beside it.
  """
  paths = inputs.given(source)
  arrays = [
    path
    for path in paths
    if path.suffix == '.npy' and files.exists(path)
    if not files.is_folder(path)
  ]
  if arrays and len(paths) > 1:
    raise errors.UserError(
      f'{spelling.shown(arrays[0])} holds pixels for the model and is given '
      'alone; images are given together.'
    )
  return os.fspath(arrays[0]) if arrays else None
