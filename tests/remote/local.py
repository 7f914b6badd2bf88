"""Files of this machine that tests put into stores."""

import numpy as np

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.weights import mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit

TINY = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}


def upload(local, remote):
  """Copies a file, or a folder and all below it, to a store."""
  paths = [p for p in local.rglob('*') if p.is_file()] or [local]
  for path in paths:
    name = path.relative_to(local).as_posix()
    (remote / name if name != '.' else remote).upload(path)
  return str(remote)


def save_weights(path, num_classes=7, side=32):
  """Writes a small random ViT-B/16 as Google's .npz."""
  config = schema.default()
  config.model.update(name='ViT-B/16', **TINY)
  model = models.build(config.model, num_classes)
  shapes = pytrees.flatten(models.params_of(model, (side, side)))
  rng = np.random.default_rng(0)
  flat = {
    name: 0.3 * rng.standard_normal(leaf.shape, np.float32)
    for name, leaf in shapes.items()
  }
  npz.save(path, mapping.to_theirs(flat, vit.rows()))
  return path
