"""Models by name, their shapes, and weights that follow from names."""

import functools
import importlib.util
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import models, pytrees
from vit_jax.config import schema

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'


def _load_rules():
  spec = importlib.util.spec_from_file_location(
    'weights', GOLDEN / 'weights.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='session')
def weights():
  """The rules of tests/golden/weights.py."""
  return _load_rules()


@pytest.fixture(scope='session')
def zoo():
  """build(name, num_classes, **fields), and the shapes of what it returns."""

  def build(name='ViT-B/16', num_classes=5, **fields):
    config = schema.default()
    config.model.update(name=name, **fields)
    return models.build(config.model, num_classes)

  def small(num_classes=5, name='ViT-B/16', **fields):
    size = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}
    return build(name, num_classes, **(size | fields))

  def shapes(model, rows, columns=None):
    image = jnp.zeros((1, rows, columns or rows, 3))
    tree = jax.eval_shape(
      lambda rng: model.init(rng, image, train=False), jax.random.key(0)
    )
    return pytrees.flatten(tree['params'])

  def params(model, rows, columns=None, seed=0):
    """Random parameters, none of them zero, flat."""
    rng = np.random.default_rng(seed)
    return {
      path: 0.3 * rng.standard_normal(leaf.shape, np.float32)
      for path, leaf in shapes(model, rows, columns).items()
    }

  def logits(model, flat, images):
    tree = {'params': pytrees.unflatten(flat)}
    run = jax.jit(functools.partial(model.apply, train=False))
    with jax.default_matmul_precision('highest'):
      return run(tree, images).logits

  return types.SimpleNamespace(
    build=build, small=small, shapes=shapes, params=params, logits=logits
  )
