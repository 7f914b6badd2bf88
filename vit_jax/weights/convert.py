"""Weights of one format, written in another."""

import dataclasses
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import errors, files, models, pytrees
from vit_jax.checkpoints import parameters
from vit_jax.config import model_names, recipes, schema
from vit_jax.nn import position_embedding
from vit_jax.weights import card as cards
from vit_jax.weights import (
  loading,
  preprocessing,
  publishing,
  resizing,
)
from vit_jax.weights.publishing import model_card, upload

FORMATS = (*publishing.FORMATS, 'orbax')


def run(
  source,
  target,
  to,
  model_name=None,
  format_name=None,
  exclude=None,
  push=None,
  private=False,
):
  """Converts weights and returns a line that says what was written.

  What the format can not say of them, it prints, a line for each.

  Args:
    source, model_name, format_name: see `loading.find`.
    target: an .npz file for google and big_vision; else a folder.
    to: one of FORMATS.
    exclude: pattern of paths of parameters to leave out; None: nothing.
    push: 'OWNER/NAME' of the Hugging Face Hub, to which the folder goes, too.
    private: whether a repository that is made for it is.

  Raises:
    UserError: the source can't be read, the format has no place for the
      model, the target is there already, or it can't be pushed.
  """
  check_target(target, to)
  _check_push(push, private, to, target)
  found = loading.find(source, model_name, format_name)
  image_size = preprocessing.image_size(found.card, None)
  wanted = pytrees.flatten(models.params_of(loading.build(found), image_size))
  wanted, unused = _without(wanted, exclude)
  changes = loading.changes_to(found, found.model, image_size)
  params, report = found.load(
    pytrees.unflatten(wanted),
    dataclasses.replace(changes, unused=changes.unused + unused),
  )
  card = _card(found, wanted, image_size, report.step)
  write(target, to, params, card, push or '')
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
  line = (
    f'{target}: {card.model.name}, {card.num_classes} classes, '
    f'{image_size[0]} x {image_size[1]} pixels, {size / 1e6:.1f} MB, as {to}'
  )
  if push:
    line += f'; pushed to {upload.push(push, target, private)}'
  return line


def _check_push(push, private, to, target):
  """Raises UserError where a push could not follow."""
  if push is None:
    if private:
      raise errors.UserError(
        '--private is for a repository that is made by --push=OWNER/NAME.'
      )
    return
  if to not in model_card.LIBRARIES:
    formats = ' or '.join(f'--to={name}' for name in model_card.LIBRARIES)
    raise errors.UserError(
      f'--push={push} needs a format that others load from the Hub, {formats}; '
      f'given: --to={to}.'
    )
  upload.check(push, target, private)


def write(target, to, params, card, repository=''):
  """Writes weights; what the format can not say of them, it prints.

  A folder for another project gets a model card, README.md.

  Args:
    target, to: see `run`; `check_target` has passed them.
    params: tree of arrays, layer by layer.
    card: a `card.Card` with an image size.
    repository: of the Hub, 'OWNER/NAME', that it will be pushed to; or ''.

  Raises:
    UserError: the format has no place for the model, or `target` can't be
      written.
  """
  if to in ('timm', 'huggingface'):
    params = _with_positions(params, card.model, card.image_size)
  if to == 'orbax':
    recipes.save(config_of(card), target)
    cards.write(target, card)
    parameters.save(target, params)
    return
  shapes = models.params_of(models.build(card.model, 0), card.image_size)
  sizes = publishing.sizes(card.model.name, pytrees.flatten(shapes))
  publishing.save(target, to, params, card, sizes)
  untold = publishing.untold(to, card)
  for sentence in untold:
    print(f'{target}: {sentence}', file=sys.stderr)
  if to in model_card.LIBRARIES:
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    model_card.write(
      model_card.Published(card, to, count, target, untold, repository)
    )


def check_target(target, to):
  """Raises UserError for an unknown format, or a target that is there."""
  errors.choose('--to', to, dict.fromkeys(FORMATS))
  path = files.path(target)
  with files.asking(path):
    is_there = path.is_file() or (path.is_dir() and any(path.iterdir()))
  if is_there:
    raise errors.UserError(
      f'{target} is there already; remove it, or give another target.'
    )


def _without(wanted, exclude):
  """Returns the parameters that stay, and the patterns of those that do not."""
  if exclude is None:
    return wanted, ()
  try:
    kept = {
      p: leaf for p, leaf in wanted.items() if not re.fullmatch(exclude, p)
    }
  except re.error as error:
    raise errors.UserError(
      f'--exclude={exclude} is no pattern: {error}.'
    ) from error
  if kept.keys() == wanted.keys():
    raise errors.UserError(
      f'--exclude={exclude} matches no parameter. '
      f'{errors.nearest(exclude, wanted)}'
    )
  return kept, (exclude,)


def _with_positions(params, model, image_size):
  """Writes down what a model computes by itself: sines and cosines."""
  width = params.get('encoder', {}).get('norm', {}).get('scale')
  if model.position_embedding not in ('sincos_2d', 'none') or width is None:
    return params
  pixels = model_names.patch_size(model.name)
  grid = image_size[0] // pixels, image_size[1] // pixels
  num_tokens = grid[0] * grid[1] + ('class_token' in params)
  module = position_embedding.POSITION_EMBEDDINGS[model.position_embedding]()
  tokens = jnp.zeros((1, num_tokens, width.size))
  embedding, _ = module.apply({}, tokens, grid)
  flat = pytrees.flatten(params) | {resizing.POSITIONS: np.asarray(embedding)}
  return pytrees.unflatten(flat)


def _card(found, wanted, image_size, step):
  """Returns what a reader of the weights has to know."""
  card, source = found.card, dict(found.card.source)
  if step is not None:
    source['step'] = step
  has_head = 'head/kernel' in wanted
  return dataclasses.replace(
    card,
    num_classes=card.num_classes if has_head else 0,
    class_names=card.class_names if has_head else None,
    image_size=image_size,
    source=source,
  )


def config_of(card):
  """Returns the configuration that is known of weights; defaults elsewhere.

  Args:
    card: a `card.Card` with an image size.
  """
  config = schema.default()
  config.model = card.model
  config.data.num_classes = card.num_classes or None
  config.data.resolution = card.image_size
  config.data.update(preprocessing.fields(card.preprocessing))
  return config
