"""The Vision Transformer in JAX and Flax (arXiv 2010.11929).

    import vit_jax

    model = vit_jax.load('augreg/B_16-i21k-imagenet2012-384')
    model.predict('cat.jpg', top=5)

`vit_jax.load` and all else in `__all__` is imported at its first use, so that
`import vit_jax` takes no time.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from vit_jax.api.extending import register as register
  from vit_jax.api.freezing import trainable as trainable
  from vit_jax.api.listing import list_checkpoints as list_checkpoints
  from vit_jax.api.listing import list_models as list_models
  from vit_jax.api.loading import create_model as create_model
  from vit_jax.api.loading import load as load
  from vit_jax.api.pretrained import Pretrained as Pretrained
  from vit_jax.api.training import train as train
  from vit_jax.errors import UserError as UserError

__version__ = '0.1.0'

# What is public, and the module that it is in.
_PUBLIC = {
  'Pretrained': 'vit_jax.api.pretrained',
  'UserError': 'vit_jax.errors',
  'create_model': 'vit_jax.api.loading',
  'list_checkpoints': 'vit_jax.api.listing',
  'list_models': 'vit_jax.api.listing',
  'load': 'vit_jax.api.loading',
  'register': 'vit_jax.api.extending',
  'train': 'vit_jax.api.training',
  'trainable': 'vit_jax.api.freezing',
}

__all__ = [
  'Pretrained',
  'UserError',
  'create_model',
  'list_checkpoints',
  'list_models',
  'load',
  'register',
  'train',
  'trainable',
]


def __getattr__(name):
  if name not in _PUBLIC:
    raise AttributeError(
      f'module {__name__!r} has no attribute {name!r}; it has '
      f'{", ".join(_PUBLIC)}.'
    )
  value = getattr(importlib.import_module(_PUBLIC[name]), name)
  globals()[name] = value  # The next time, it is found at once.
  return value


def __dir__():
  return sorted({*globals(), *__all__})
