"""Weights of one format, written in another."""

import dataclasses
import os
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import errors, models, pytrees
from vit_jax.checkpoints import parameters
from vit_jax.config import model_names, recipes, schema
from vit_jax.data.datasets import class_names
from vit_jax.nn import position_embedding
from vit_jax.weights import (
  loading,
  preprocessing,
  publishing,
  resizing,
  torch_config,
)

FORMATS = (*publishing.FORMATS, 'orbax')


def run(source, target, to, model_name=None, format_name=None, drop=None):
  """Converts weights and returns a line that says what was written.

  Args:
    source, model_name, format_name: see `loading.find`.
    target: an .npz file for google and big_vision; else a folder.
    to: one of FORMATS.
    drop: pattern of paths of parameters to leave out; None: nothing.

  Raises:
    UserError: the source can't be read, the format has no place for the
      model, or the target is there already.
  """
  errors.choose('--to', to, dict.fromkeys(FORMATS))
  _check_new(target)
  found = loading.find(source, model_name, format_name)
  image_size = preprocessing.image_size(found, None)
  wanted = pytrees.flatten(models.params_of(loading.build(found), image_size))
  sizes = _sizes(found.model.name, wanted)
  wanted, unused = _without(wanted, drop)
  changes = loading.changes_to(found, found.model, image_size)
  params, _ = found.load(
    pytrees.unflatten(wanted),
    dataclasses.replace(changes, unused=changes.unused + unused),
  )
  card = _card(found, wanted, image_size, sizes)
  if to in ('timm', 'huggingface'):
    params = _with_positions(params, found.model, image_size)
  if to == 'orbax':
    recipes.save(_config(found, card), target)
    parameters.save(target, params)
  else:
    publishing.save(target, to, params, card)
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
  return (
    f'{target}: {card.name}, {card.num_classes} classes, '
    f'{image_size[0]} x {image_size[1]} pixels, {size / 1e6:.1f} MB, as {to}'
  )


def _check_new(target):
  path = pathlib.Path(target)
  if path.is_file() or (path.is_dir() and os.listdir(path)):
    raise errors.UserError(
      f'{target} is there already; remove it, or give another target.'
    )


def _without(wanted, drop):
  """Returns the parameters that stay, and the patterns of those that do not."""
  if drop is None:
    return wanted, ()
  try:
    kept = {p: leaf for p, leaf in wanted.items() if not re.fullmatch(drop, p)}
  except re.error as error:
    raise errors.UserError(f'--drop={drop} is no pattern: {error}.') from error
  if kept.keys() == wanted.keys():
    raise errors.UserError(
      f'--drop={drop} matches no parameter. {errors.nearest(drop, wanted)}'
    )
  return kept, (drop,)


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


def _card(found, wanted, image_size, sizes):
  """Returns what a reader of the weights has to know."""
  num_classes = (
    wanted['head/kernel'].shape[-1] if 'head/kernel' in wanted else 0
  )
  known = class_names.are_known(num_classes)
  model = found.model
  kernel = wanted.get('stem/embedding/kernel')
  return torch_config.Card(
    name=model.name,
    image_size=image_size,
    num_classes=num_classes,
    pooling=model.pooling,
    gelu=model.gelu,
    norm_epsilon=model.norm_epsilon,
    class_names=class_names.get(num_classes) if known else None,
    patch_size=kernel.shape[0] if kernel else None,
    **sizes,
  )


def _sizes(name, shapes):
  """Returns those of a model's sizes that a card has; none of a ResNet."""
  measure = models.family(name).measure
  if measure is None:
    return {}
  size = measure({path: leaf.shape for path, leaf in shapes.items()})
  known = {field.name for field in dataclasses.fields(torch_config.Card)}
  sizes = dataclasses.asdict(size)
  return {field: sizes[field] for field in sizes if field in known}


def _config(found, card):
  config = schema.default()
  config.model = found.model
  config.data.num_classes = card.num_classes or None
  config.data.resolution = card.image_size
  config.data.update(preprocessing.fields(found))
  return config
