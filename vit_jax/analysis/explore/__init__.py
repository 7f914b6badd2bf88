"""`vit_jax explore`: a page that shows where a Vision Transformer looks.

One HTML file for a browser: attention weights of every layer and head, their
means and attention rollout, over the images. How much detail fits is measured:
the most that does is written, and the page says what was left out.
"""

import collections
import dataclasses
import html
import itertools
import math
import pathlib
import sys
from collections.abc import Sequence

import matplotlib
import numpy as np

from vit_jax import errors, files, models
from vit_jax.analysis import attention_maps, pages
from vit_jax.analysis.explore import packing, views
from vit_jax.analysis.explore.views import Model
from vit_jax.config import model_names
from vit_jax.data import names
from vit_jax.inference import predict
from vit_jax.weights import loading

__all__ = ['Image', 'Model', 'Page', 'build', 'run', 'write']

MAX_MEGABYTES = 8  # Of 10^6 bytes; what mail takes and a phone holds.
MAX_IMAGES = 12
TOP = 5  # Classes that are shown.
COLORS = 'inferno'  # Perceptually uniform, of any colour vision.
_TEMPLATE = pathlib.Path(__file__).parent
_HEIGHT = 840  # Of the frame in a notebook, in pixels.
_BASE64 = 4 / 3
_DEFLATED = 0.4  # Of the bits of codes: few weights ever take less.


@dataclasses.dataclass(frozen=True)
class Image:
  """An image to be looked at.

  Attributes:
    name: what to call it.
    pixels: of each model, float32 [height, width, 3], in [-1, 1], prepared as
      that model wants it.
  """

  name: str
  pixels: Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Page:
  """A page; a notebook shows it where it is the last value of a cell.

  Attributes:
    text: HTML.
    told: sentences that say what was left out, if anything.
  """

  text: str
  told: tuple[str, ...] = ()

  def save(self, path):
    """Writes the page and returns its path; raises `UserError` if it can't."""
    path = files.path(path)
    with files.saving(path) as file:
      file.write(self.text.encode())
    return path

  def _repr_html_(self):
    return (
      f'<iframe srcdoc="{html.escape(self.text)}" title="Attention" '
      f'style="width:100%;height:{_HEIGHT}px;border:0"></iframe>'
    )


@dataclasses.dataclass(frozen=True)
class _Detail:
  """How much of the weights a page has.

  Attributes:
    levels: see `packing.pack`.
    heads: one of so many has its own weights; 0: none but their mean.
    layers: one of so many.
  """

  levels: int = 255
  heads: int = 1
  layers: int = 1

  def heads_of(self, distance):
    """Returns the indices of heads in each layer, spread over their distances.

    Args:
      distance: [layers, heads], mean attention distances.
    """
    num_heads = distance.shape[1]
    count = -(-num_heads // self.heads) if self.heads else 0
    order = np.argsort(distance, axis=1, kind='stable')
    places = np.rint(np.linspace(0, num_heads - 1, count)).astype(int)
    return np.sort(order[:, places], axis=1)

  def layers_of(self, depth):
    """Returns the numbers of layers, from 1; the last is one of them."""
    return tuple(range(depth, 0, -self.layers))[::-1]


# From the most to the least. With two images or more, the same for all.
_DETAILS = (
  *(_Detail(levels) for levels in (255, 127, 63)),
  *(_Detail(63, heads) for heads in (2, 4, 8)),
  *(_Detail(63, 0, layers) for layers in (1, 2, 3, 4, 6, 12, 1_000)),
)


def run(
  checkpoints,
  source,
  output,
  model_name=None,
  resolution=None,
  layers=None,
  max_megabytes=None,
):
  """Writes a page of what models see in images, and prints where.

  Args:
    checkpoints: one or two, as of `loading.find`.
    source, resolution: see `predict.run`; of an image, each model gets what it
      was trained on.
    output: path of the HTML file.
    model_name: of the first; see `loading.find`.
    layers, max_megabytes: see `build`.

  Returns:
    The exit status: 1 where an image could not be read, else 0.

  Raises:
    UserError: there are no such weights or images, a model has no attention, or
      nothing fits.
  """
  weights = [
    _find(checkpoint, name)
    for checkpoint, name in zip(checkpoints, (model_name, None))
  ]
  images, are_whole = _read(source, weights, resolution)
  loaded = [
    _load(found, checkpoint, image)
    for found, checkpoint, image in zip(weights, checkpoints, images[0].pixels)
  ]
  page = build(
    loaded,
    images,
    layers=layers,
    max_megabytes=max_megabytes or MAX_MEGABYTES,
  )
  for sentence in page.told:
    print(sentence, file=sys.stderr)
  print(page.save(output))
  return 0 if are_whole else 1


def write(path, models, images, **options):
  """Writes a page and returns its path; see `build` for the arguments."""
  return build(models, images, **options).save(path)


def build(models, images, *, layers=None, max_megabytes=MAX_MEGABYTES):
  """Returns the `Page` of what models see in images.

  Args:
    models: `Model`s; two are shown side by side.
    images: `Image`s.
    layers: numbers of the layers, from 1, whose weights the page has; None: as
      many as fit.
    max_megabytes: that the page may have; the first of these that is enough is
      left out: exactness, heads, layers.

  Raises:
    UserError: a model has no such layer, or nothing fits.
  """
  _check_layers(layers, models)
  limit = int(max_megabytes * 1e6)
  frame = len(_render(models, [], _DETAILS[0]).encode())
  for detail in _DETAILS:
    if layers and detail.layers > 1:
      break
    if frame + _least_bytes(models, images, layers, detail) > limit:
      continue
    made = list(_fitting(models, images, layers, detail, limit - frame))
    if len(made) < len(models) * len(images):
      continue
    text = _render(models, made, detail)
    if len(text.encode()) <= limit:
      return Page(text, _told(models, made, detail))
  raise errors.UserError(_too_large(models, images, layers, max_megabytes))


# Weights and images -----------------------------------------------------------


def _find(checkpoint, model_name):
  found = loading.find(checkpoint, model_name)
  attention_maps.check(models.family(found.model.name))
  found.model.scan = False  # A loop would keep the attention of all layers.
  return found


def _load(found, checkpoint, pixels):
  module, params = loading.load(found, pixels.shape[:2])
  return Model(
    f'{found.model.name} ({_last_part(checkpoint)})',
    module,
    params,
    model_names.patch_size(found.model.name),
    found.card.names() if found.num_classes else (),
  )


def _read(source, weights, resolution):
  """Returns `Image`s of what can be read, and whether that is all.

  Raises:
    UserError: there is none.
  """
  readers = [predict.open_images(source, w, resolution) for w in weights]
  images, are_whole = [], True
  rows = zip(*map(_one_by_one, readers))
  for label, problem, pixels in map(_joined, rows):
    if problem:
      line = f'vit_jax: {names.shown(label)}: {problem}'
      print(errors.shown(line), file=sys.stderr)
      are_whole = False
    elif len(images) == MAX_IMAGES:
      print(f'The page has the first {MAX_IMAGES} images.', file=sys.stderr)
      break
    else:
      images.append(Image(label, pixels))
  if not images:
    raise errors.UserError('None of the images could be read.')
  return _named_apart(images), are_whole


def _one_by_one(images):
  """Yields (label, pixels, problem) of each image."""
  for labels, pixels, problems in images.batches():
    yield from zip(labels, pixels, problems)


def _joined(row):
  """Returns label, problem and pixels of an image, for all models."""
  labels, pixels, problems = zip(*row)
  return labels[0], next(filter(None, problems), None), pixels


def _named_apart(images):
  """Returns images called by the last part of their names, if that tells."""
  short = [_last_part(image.name) for image in images]
  counts = collections.Counter(short)
  return [
    dataclasses.replace(image, name=name) if counts[name] == 1 else image
    for image, name in zip(images, short)
  ]


def _last_part(name):
  return names.shown(str(name).rstrip('/').rpartition('/')[2] or name)


# What fits --------------------------------------------------------------------


def _check_layers(layers, models):
  for model in models:
    missing = [n for n in layers or () if not 1 <= n <= model.depth]
    if missing:
      raise errors.UserError(
        f'{model.name} has no layer {missing[0]}; its layers are 1 to '
        f'{model.depth}: --layers={model.depth // 2 or 1},{model.depth}.'
      )


def _least_bytes(models, images, layers, detail):
  """Returns what weights of a detail take at the very least."""
  total = 0.0
  for index, model in enumerate(models):
    num_patches = math.prod(model.grid(images[0].pixels[index]))
    num_layers = len(layers or detail.layers_of(model.depth))
    num_heads = model.module.encoder.block.num_heads
    num_maps = 2 + (-(-num_heads // detail.heads) if detail.heads else 0)
    total += len(images) * num_layers * num_maps * num_patches**2
  return total * math.log2(detail.levels + 1) / 8 * _DEFLATED * _BASE64


def _fitting(models, images, layers, detail, limit):
  """Yields the data of views for as long as they, and all to come, may fit."""
  total, num_views = 0, len(models) * len(images)
  pairs = itertools.product(enumerate(images), enumerate(models))
  for count, ((i, image), (m, model)) in enumerate(pairs, 1):
    data = _view_data(model, image.pixels[m], layers, detail)
    total += len(pages.embedded(data))
    expected = total / count * num_views if count % len(models) == 0 else total
    if max(total, 0.8 * expected) > limit:
      return
    yield {'model': m, 'image': i, 'name': image.name, **data}


def _view_data(model, pixels, layers, detail):
  """Returns what the script knows of a view."""
  chosen = tuple(sorted(set(layers or detail.layers_of(model.depth))))
  seen = views.compute(model, pixels, chosen)
  heads = detail.heads_of(seen.distance)[np.array(chosen) - 1]
  packed = [
    packing.pack(np.stack([*weights[own], mean, flow]), detail.levels)
    for weights, own, mean, flow in zip(
      seen.heads, heads, seen.mean, seen.rollout
    )
  ]
  return {
    'source': pages.picture(np.rint((pixels + 1) * 127.5), quality=90),
    'size': pixels.shape[:2],
    'grid': seen.grid,
    'layers': chosen,
    'heads': heads + 1,
    'weights': [
      pages.Blob(np.frombuffer(each.data, np.uint8)) for each in packed
    ],
    'error': max(each.error for each in packed),
    'pooling': pages.Blob(seen.pooling),
    'distance': _rounded(seen.distance),
    'entropy': _rounded(seen.entropy),
    'classes': predict.likeliest(
      seen.logits, model.class_names, min(TOP, len(seen.logits))
    ),
  }


def _rounded(array):
  return np.round(array.astype(np.float64), 4)


def _told(models, made, detail):
  """Returns sentences on what a page lacks."""
  told = []
  if detail.levels < 255:
    told.append(
      f'So that the page stays small, weights have {detail.levels + 1} levels '
      'in place of 256.'
    )
  if detail.heads > 1:
    told.append(
      f'Of each layer, one of {detail.heads} heads is shown, spread over their '
      'mean attention distances; the mean is of all.'
    )
  if not detail.heads:
    told.append('Single heads are left out; the mean over heads is shown.')
  shown = {view['model']: view['layers'] for view in made}
  for index, model in enumerate(models):
    layers = shown[index]
    if len(layers) < model.depth:
      listed = ', '.join(map(str, layers))
      told.append(f'{model.name}: layers {listed} of {model.depth} are shown.')
  return tuple(told)


def _too_large(models, images, layers, max_megabytes):
  grids = [
    model.grid(pixels) for model, pixels in zip(models, images[0].pixels)
  ]
  sizes = ' and '.join(f'{rows} x {columns}' for rows, columns in grids)
  fewer = 'fewer --layers, ' if layers else ''
  return (
    f'Attention between {sizes} patches of {len(images)} image(s) does not fit '
    f'into {max_megabytes:g} megabytes, whatever is left out. Give {fewer}'
    f'fewer images, a lower --resolution, or '
    f'--max-megabytes={math.ceil(2 * max_megabytes)}.'
  )


def _render(models, made, detail):
  colors = matplotlib.colormaps[COLORS](np.arange(256), bytes=True)[:, :3]
  data = {
    'models': [
      {
        'name': model.name,
        'depth': model.depth,
        'patch': model.patch_size,
        'pooling': _pooling_name(model.module),
      }
      for model in models
    ],
    'views': made,
    'levels': detail.levels,
    'bound': packing.bound(detail.levels),
    'told': _told(models, made, detail) if made else (),
    'colors': pages.Blob(colors),
  }
  title = f'Where {" and ".join(model.name for model in models)} looks'
  return pages.render(_TEMPLATE, title, data)


def _pooling_name(module):
  """Returns which of three kinds of pooling a model has."""
  if module.class_token:
    return 'class_token'
  return 'attention' if hasattr(module.pooling, 'num_heads') else 'average'
