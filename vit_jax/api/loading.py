"""Models by name: with pretrained weights (load), or fresh (create_model)."""

import dataclasses
import os
import sys

import jax
import jax.numpy as jnp

from vit_jax import errors, models
from vit_jax.api import pretrained
from vit_jax.config import overrides, schema, validation
from vit_jax.sharding import mesh as meshes
from vit_jax.training import train_step
from vit_jax.weights import card as cards
from vit_jax.weights import loading, preprocessing


def load(
  name,
  *,
  num_classes=None,
  class_names=None,
  image_size=None,
  position_resize=None,
  model=None,
  dtype=None,
  seed=0,
):
  """Returns pretrained weights in their model, a `vit_jax.Pretrained`.

  Args:
    name: of the catalogue ('augreg/B_16'; see `list_checkpoints`), a repository
      of the Hugging Face Hub ('hf://OWNER/NAME@REVISION') or a name of timm, a
      URL (https://, gs://, s3://), a file, the folder of a run ('RUN:best' is
      its best step), or of a model that `save`, timm or transformers have
      written.
    num_classes: outputs of a fresh head in place of theirs, as a fine-tuning
      starts with: all logits are alike; 0: no head; None: as `class_names`
      says, or their own head.
    class_names: what to call the classes of the fresh head.
    image_size: side or (rows, columns) in pixels of the images it will take;
      None: as it was trained. Position embeddings are resized.
    position_resize: how, e.g. 'bicubic'; None: as the authors of the weights.
    model: its name, as 'ViT-B/16'; None: the shapes of the weights tell.
    dtype: of activations, 'float32' or 'bfloat16'; None: as the weights say.
    seed: of what is fresh, at least 0.

  Raises:
    UserError: there is nothing of that name, it can't be understood, or it
      does not fit what was asked for.
  """
  name = os.fspath(name)
  num_classes, class_names = _classes(num_classes, class_names)
  found = loading.find(name, model, position_resize=position_resize)
  if dtype is not None:
    found = _with_dtype(found, dtype)
  if found.entry and found.entry.note and num_classes is None:
    print(f'{name}: {found.entry.note}', file=sys.stderr)
  card = found.card
  size = _size(image_size) or preprocessing.image_size(card, None)
  module, params = loading.load(found, size, num_classes, _rng(seed))
  if num_classes is not None:
    card = dataclasses.replace(
      card,
      num_classes=num_classes,
      class_names=class_names,
      source={'init': name},  # Its accuracy is none of the new head's.
    )
  card = dataclasses.replace(card, image_size=size)
  return pretrained.Pretrained(module, params, card, size, name)


def create_model(
  name, num_classes=1000, image_size=224, *, class_names=None, seed=0, **fields
):
  """Returns a model with fresh parameters, a `vit_jax.Pretrained`.

  They are those that a training of this model starts with at this seed.

  Args:
    name: as papers have it: 'ViT-S/16', 'R50+ViT-B/16', 'BiT-R50x1',
      'Mixer-B/16'; see `list_models`.
    num_classes: outputs of the head; 0: no head.
    image_size: side or (rows, columns) in pixels of the images it takes.
    class_names: what to call the classes; their number is `num_classes` then.
    seed: of the parameters, at least 0.
    **fields: of the configuration's part `model`, such as depth=6,
      pooling='average', dtype='bfloat16'.

  Raises:
    UserError: there is no such model or field (it names the nearest), or they
      do not fit together.
  """
  if class_names is not None:
    num_classes, class_names = _classes(
      None if num_classes == 1000 else num_classes, class_names
    )
  size = _size(image_size)
  config = schema.default()
  for field, value in {'name': name, **fields}.items():
    overrides.assign(config, f'model.{field}', value, 'create_model')
  validation.check_choices(config, models.CHOICES)
  validation.check_model(config.model)
  models.family(name)
  validation.check_resolution(size, name)
  module = models.build(
    config.model, num_classes, platform=meshes.devices()[0].platform
  )

  def init(rng):
    return module.init(rng, jnp.zeros((1, *size, 3)), train=False)['params']

  params = jax.jit(init)(_rng(seed))
  card = cards.Card(config.model, num_classes, class_names, size)
  return pretrained.Pretrained(
    module, params, card, size, f'fresh, seed {seed}'
  )


def _rng(seed):
  """Returns the key of the parameters, as a training with this seed has it."""
  if not isinstance(seed, int) or seed < 0:
    raise errors.UserError(f'seed={seed!r} is not a number from 0.')
  params_rng, _ = train_step.init_rngs(jax.random.key(seed))
  return params_rng


def _classes(num_classes, class_names):
  """Returns the number of classes and their names, or None for each."""
  if num_classes is not None and (
    not isinstance(num_classes, int) or num_classes < 0
  ):
    raise errors.UserError(
      f'num_classes={num_classes!r} is not a number from 0.'
    )
  if class_names is None:
    return num_classes, None
  if isinstance(class_names, str):
    raise errors.UserError(
      f'class_names={class_names!r} is one text; give a name for each class, '
      "as ('cat', 'dog')."
    )
  names = tuple(map(str, class_names))
  if num_classes not in (None, len(names)):
    raise errors.UserError(
      f'num_classes={num_classes}, and class_names has {len(names)} names; '
      'the names alone are enough.'
    )
  return len(names), names


def _size(image_size):
  """Returns (rows, columns) of a side, of both, or None of None."""
  if image_size is None:
    return None
  sides = (image_size,) * 2 if isinstance(image_size, int) else image_size
  try:
    rows, columns = map(int, sides)
  except (TypeError, ValueError) as error:
    raise errors.UserError(
      f'image_size={image_size!r} is neither a side nor (rows, columns), in '
      'pixels.'
    ) from error
  return rows, columns


def _with_dtype(found, dtype):
  """Returns weights whose model computes in another dtype."""
  dtype = jnp.dtype(dtype).name
  errors.choose('dtype', dtype, dict.fromkeys(models.DTYPES))
  model = found.model.copy_and_resolve_references()
  model.dtype = dtype
  card = dataclasses.replace(found.card, model=model)
  return dataclasses.replace(found, card=card)
