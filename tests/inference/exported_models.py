"""Small models of every family, with random parameters, to be exported."""

import jax
import numpy as np

import vit_jax
from vit_jax.data import batch
from vit_jax.inference import predict

TINY = {'width': 16, 'depth': 2, 'num_heads': 2, 'mlp_dim': 24}
MODELS = {
  'vit': ('ViT-S/16', TINY),
  'vit_pooled': ('ViT-S/16', TINY | {'pooling': 'attention', 'gelu': 'erf'}),
  'scan': ('ViT-S/16', TINY | {'scan': True}),
  'bfloat16': ('ViT-S/16', TINY | {'dtype': 'bfloat16'}),
  'hybrid': ('R+ViT-Ti/16', TINY),
  'bit': ('BiT-R8x1', {}),
  'mixer': ('Mixer-S/16', {'width': 16, 'depth': 2, 'mlp_dim': 24}),
}
IMAGE_SIZE = (32, 64)  # Rows and columns must not be taken for each other.
NUM_CLASSES = 5
MOST = 8  # Images.


def make(name, num_classes=NUM_CLASSES, image_size=IMAGE_SIZE):
  """Returns a `vit_jax.Pretrained` of MODELS."""
  model_name, fields = MODELS[name]
  names = [f'kind {index}' for index in range(num_classes)] or None
  size = {'class_names': names} if names else {'num_classes': 0}
  model = vit_jax.create_model(
    model_name, image_size=image_size, **size, **fields
  )
  rng = np.random.default_rng(0)
  return model.replace(
    params=jax.tree.map(
      lambda leaf: (
        np.asarray(leaf) + 0.1 * rng.standard_normal(leaf.shape, np.float32)
      ),
      model.params,
    )
  )


def images(count, image_size=IMAGE_SIZE):
  """Returns uint8 [count, rows, columns, 3]."""
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (MOST, *image_size, 3), np.uint8)[:count]


def wanted(model, pictures, output='probabilities'):
  """Returns what the model itself makes of uint8 images."""
  missing = [(0, MOST - len(pictures)), (0, 0), (0, 0), (0, 0)]
  pixels = batch.to_model_range(np.pad(pictures, missing))  # Compiled once.
  logits, features = predict.forward(
    model.module, model.params, np.asarray(pixels)
  )
  found = logits if output != 'features' else features
  if output == 'probabilities':
    found = np.asarray(jax.nn.softmax(logits))
  return found[: len(pictures)]
