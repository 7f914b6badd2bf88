"""A look inside: the figures of the ViT paper, of any weights."""

import dataclasses
import re
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import errors, files, models, pytrees
from vit_jax.analysis import (
  attention_distance,
  attention_maps,
  figures,
  patch_filters,
  position_similarity,
  rollout,
)
from vit_jax.config import model_names, validation
from vit_jax.data import names
from vit_jax.evaluation import drawing
from vit_jax.inference import predict
from vit_jax.nn import position_embedding
from vit_jax.weights import loading, preprocessing


@dataclasses.dataclass(frozen=True)
class Analysis:
  """A row of the table of analyses."""

  draw: Callable  # (found, images or size, folder) -> paths of what it wrote.
  of_images: bool  # Or of the weights alone.
  # (found) raises UserError where the model has not what counts; None: all do.
  check: Callable | None = None


def run(
  name, checkpoint, output, source=None, model_name=None, resolution=None
):
  """Writes the arrays of an analysis, draws them, and prints where.

  Args:
    name: a key of ANALYSES.
    checkpoint, model_name: see `loading.find`.
    output: folder to write NAME.npz and NAME.png to.
    source, resolution: see `predict.run`.

  Returns:
    The exit status: 1 where an image could not be read, else 0.

  Raises:
    UserError: there are no such weights or images, or the model has not what
      is to be analysed.
  """
  analysis = errors.choose('The analysis', name, ANALYSES)
  _check_source(name, analysis, source)
  found = loading.find(checkpoint, model_name)
  found.model.scan = False  # A loop would keep the attention of all layers.
  size = preprocessing.image_size(found.card, resolution)
  if analysis.check:
    analysis.check(found)
  if not analysis.of_images:
    validation.check_resolution(size, found.model.name)
    _print(analysis.draw(found, size, _made(output)))
    return 0
  images = _Images(predict.open_images(source, found, resolution))
  _print(analysis.draw(found, images, _made(output)))
  return 1 if images.num_bad else 0


def _check_source(name, analysis, source):
  if analysis.of_images and not source:
    raise errors.UserError(
      f'vit_jax analyze {name} looks at images; say which by --input=IMAGES.'
    )
  if source and not analysis.of_images:
    raise errors.UserError(
      f'vit_jax analyze {name} looks at the weights alone; leave --input out.'
    )


def _made(output):
  folder = files.path(output)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise errors.UserError(
      f'--output={folder} can not be a folder: {error.strerror}.'
    ) from error
  return folder


def _print(paths):
  for path in paths:
    print(path)


class _Images:
  """Images that can be read; `num_bad` counts the others as they come."""

  def __init__(self, images):
    self._images = images
    self.size = images.size
    self.num_bad = 0

  def map(self, function):
    """Yields (label, pixels, result) of each image, one batch in memory.

    Args:
      function: maps float32 pixels [batch, height, width, 3] to a tree of
        arrays [batch, ...]; a result is such a tree [...].

    Raises:
      UserError: no image can be read.
    """
    num_good = 0
    for labels, pixels, problems in self._images.batches():
      # What is drawn should not depend on what computes it.
      with jax.default_matmul_precision('highest'):
        results = jax.tree.map(np.asarray, function(pixels))
      for i, (label, image, problem) in enumerate(
        zip(labels, pixels, problems)
      ):
        if problem:
          line = f'vit_jax: {names.shown(label)}: {problem}'
          print(errors.shown(line), file=sys.stderr)
          self.num_bad += 1
        else:
          num_good += 1
          result = jax.tree.map(lambda array, i=i: array[i], results)
          yield names.shown(label), image, result
    if not num_good:
      raise errors.UserError('None of the images could be read.')


def _rollout(found, images, folder):
  model, params = loading.load(found, images.size)
  map_of = rollout.make_map_of(model, _grid(found, images.size))
  labels, maps, shown, captions = [], [], [], []
  for label, pixels, result in images.map(lambda x: map_of(params, x)):
    patch_map, logits = result
    labels.append(label)
    maps.append(patch_map)
    if len(shown) < figures.MAX_ROLLOUTS:
      shown.append(np.rint((pixels + 1) * 127.5).astype(np.uint8))
      captions.append((_file_name(label), _likeliest(found, logits)))
  return (
    _save(folder / 'rollout.npz', rollout=np.stack(maps), image=labels),
    figures.rollout(folder / 'rollout.png', shown, maps, captions),
  )


def _file_name(label):
  return label.rpartition('/')[2] or label


def _likeliest(found, logits):
  """Returns the class that is predicted and its probability, '' without."""
  if logits is None:
    return ''
  ((name, probability),) = predict.likeliest(logits, found.card.names(), 1)
  return f'{drawing.shorten(drawing.printable(name), 14)} {probability:.0%}'


def _attention_distance(found, images, folder):
  model, params = loading.load(found, images.size)
  grid = _grid(found, images.size)
  patch_size = model_names.patch_size(found.model.name)
  distances_of = attention_distance.make_distances_of(model, grid, patch_size)
  total, num_images = 0.0, 0
  for _, _, distances in images.map(lambda x: distances_of(params, x)):
    total = total + distances.astype(np.float64)
    num_images += 1
  mean = (total / num_images).astype(np.float32)
  uniform = attention_distance.patch_distances(grid, patch_size).mean()
  path = folder / 'attention_distance'
  return (
    _save(
      path.with_suffix('.npz'),
      distance=mean,
      uniform=uniform,
      num_images=num_images,
    ),
    figures.attention_distance(
      path.with_suffix('.png'), mean, uniform, num_images
    ),
  )


def _check_attention(found):
  attention_maps.check(models.family(found.model.name))


def _check_positions(found):
  kind = found.model.position_embedding
  has = 'position_embedding' in models.family(found.model.name).fields
  if not has or kind in ('none', 'relative'):
    raise errors.UserError(
      f'This {found.model.name} has no position embeddings '
      f'(model.position_embedding={kind}); a ViT with learned ones, or with '
      'sines and cosines, has.'
    )


def _position_similarity(found, size, folder):
  grid = _grid(found, size)
  paths = []
  for name, embedding in _position_embeddings(found, size).items():
    similarity = position_similarity.position_similarity(embedding, grid)
    path = folder / name.replace('embedding', 'similarity')
    paths += [
      _save(path.with_suffix('.npz'), similarity=similarity),
      figures.position_similarity(path.with_suffix('.png'), similarity),
    ]
  return paths


def _position_embeddings(found, size):
  """Returns {name in the encoder: [tokens, width]}; several: of each layer."""
  module = position_embedding.POSITION_EMBEDDINGS[
    found.model.position_embedding
  ]()
  pattern = r'class_token|encoder/position_embedding\w*/.*'
  encoder = _load_part(found, size, pattern).get('encoder', {})
  shapes = models.params_of(loading.build(found), size)
  rows, columns = _grid(found, size)
  num_tokens = rows * columns + ('class_token' in shapes)
  tokens = jnp.zeros((1, num_tokens, *shapes['encoder']['norm']['scale'].shape))
  # Sines and cosines have no parameters, and are the same in every layer.
  encoder = encoder or {'position_embedding': {}}
  return {
    name: module.apply({'params': params}, tokens, (rows, columns))[0][0]
    for name, params in encoder.items()
  }


def _filters(found, size, folder):
  family = models.family(found.model.name)
  path = family.pixel_kernel
  part = pytrees.flatten(_load_part(found, size, re.escape(path)))
  kernel = family.as_applied(part[path])
  components, shares = patch_filters.principal_components(kernel)
  return (
    _save(folder / 'filters.npz', components=components, shares=shares),
    figures.patch_filters(folder / 'filters.png', components, shares),
  )


ANALYSES = {
  'rollout': Analysis(_rollout, of_images=True, check=_check_attention),
  'attention-distance': Analysis(
    _attention_distance, of_images=True, check=_check_attention
  ),
  'position-similarity': Analysis(
    _position_similarity, of_images=False, check=_check_positions
  ),
  'filters': Analysis(_filters, of_images=False),
}


def _grid(found, size):
  patch_size = model_names.patch_size(found.model.name)
  return size[0] // patch_size, size[1] // patch_size


def _load_part(found, size, pattern):
  """Returns the tree of those parameters whose paths match a pattern."""
  shapes = pytrees.flatten(models.params_of(loading.build(found), size))
  wanted = {
    path: shape for path, shape in shapes.items() if re.fullmatch(pattern, path)
  }
  changes = loading.changes_to(found, found.model, size)
  changes = dataclasses.replace(changes, unused=('.*',))
  params, _ = found.load(pytrees.unflatten(wanted), changes)
  return params


def _save(path, **arrays):
  with files.saving(path) as file:
    np.savez_compressed(file, **arrays)
  return path
