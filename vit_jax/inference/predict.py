"""Images in; the likeliest classes, or logits and features, out."""

import sys

import jax
import numpy as np

from vit_jax import errors, files
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
):
  """Classifies images and prints the classes, or writes arrays.

  Args:
    checkpoint, model_name: see `loading.find`.
    source: an image, a folder of images, several of these parted by commas,
      or an .npy of float32 pixels in [-1, 1], [batch, height, width, 3].
    resolution: (side,) or (rows, columns) in pixels; None: as the weights were
      trained, or as large as the arrays are.
    top: number of classes to print; None: `TOP`, or none where arrays are
      written.
    logits_path: .npy that takes float32 [images, classes].
    features_path: .npy that takes float32 [images, width], what the head reads.
    position_resize: see `loading.find`.

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
        print(errors.shown(f'vit_jax: {label}: {problem}'), file=sys.stderr)
        is_whole = False
    result = _without_bad(predict(pixels), problems)
    results.append(result)
    if top:
      _print_top(labels, result[0], problems, names, top)
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
  model, params = loading.load(found, size)

  @jax.jit
  def forward(params, pixels):
    output = model.apply({'params': params}, pixels, train=False)
    return output.logits, output.pooled

  def predict(pixels):
    # An image's classes should not depend on what computes them.
    with jax.default_matmul_precision('highest'):
      logits, features = forward(params, pixels)
    if logits is None:
      logits = np.zeros((len(pixels), 0), np.float32)
    return np.asarray(logits, np.float32), np.asarray(features, np.float32)

  return predict


def _without_bad(result, problems):
  """Returns arrays without padding, whose rows of bad images are NaN."""
  bad = np.array([problem is not None for problem in problems])
  result = [array[: len(bad)].copy() for array in result]
  for array in result:
    array[bad] = np.nan
  return result


def _print_top(labels, logits, problems, names, top):
  shifted = np.exp(logits - logits.max(-1, keepdims=True))
  probabilities = shifted / shifted.sum(-1, keepdims=True)
  for label, row, problem in zip(labels, probabilities, problems):
    if problem:
      continue
    print(errors.shown(label))
    for index in np.argsort(-row, kind='stable')[:top]:
      print(errors.shown(f'  {row[index]:7.2%}  {names[index]}'))


def _save(path, array):
  with files.saving(path) as file:
    np.save(file, array, allow_pickle=False)


def open_images(source, found, resolution):
  """Returns the images of a source, `inputs.Arrays` or `inputs.Files`.

  Args:
    source, resolution: see `run`.
    found: the `loading.Weights` that will see them.

  Raises:
    UserError: there are none, or arrays are not of that resolution.
  """
  if source.endswith('.npy') and _is_file(source):
    images = inputs.Arrays(source, BATCH_SIZE)
    if resolution and (resolution * 2)[:2] != images.size:
      raise errors.UserError(
        f'{source} holds images of {images.size} pixels, and --resolution '
        f'asks for {resolution}; pixels of an array are not resized.'
      )
    return images
  size = preprocessing.image_size(found.card, resolution)
  paths = inputs.find(source)
  chain = found.card.preprocessing.chain(size)
  return inputs.Files(paths, chain, size, BATCH_SIZE)


def _is_file(source):
  """Returns whether there is such a file, and not several parted by commas."""
  path, *others = inputs.given(source)
  is_there = not others and files.exists(path)
  return is_there and not files.is_folder(path)
