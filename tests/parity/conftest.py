"""Random models of timm and transformers, and what they compute.

Everything is skipped where PyTorch is not installed (`make parity`).
"""

import types

import numpy as np
import pytest

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.inference import predict
from vit_jax.weights import mapping
from vit_jax.weights.files import npz

try:
  import torch
except ImportError:
  torch = None  # The tests skip themselves.
else:
  # torchvision's operators are compiled for one build of PyTorch only; for
  # importing its Python part they need only be declared.
  _OPERATORS = torch.library.Library('torchvision', 'DEF')
  for name in 'nms', 'qnms':
    _OPERATORS.define(f'{name}(Tensor boxes, Tensor scores, float x) -> Tensor')

NUM_CLASSES = 11
SIDE = 64
TOLERANCE = 1e-4  # Relative to the largest logit.


def _by_torch(model, pixels):
  """Returns the logits of a model of PyTorch."""
  with torch.no_grad():
    output = model.eval()(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
  return getattr(output, 'logits', output).numpy()


def _assert_same(ours, theirs):
  assert np.abs(theirs).max() > 0.1
  assert np.abs(ours - theirs).max() < TOLERANCE * np.abs(theirs).max()


def _fill(model, seed=0):
  """Gives a model of PyTorch random parameters, none of them zero."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      noise = torch.randn(parameter.shape, generator=generator)
      if parameter.ndim > 1 and 'pos' not in name and 'token' not in name:
        parameter.copy_(noise / parameter[0].numel() ** 0.5)
      else:
        is_scale = 'norm' in name and name.endswith('weight')
        parameter.copy_((1 if is_scale else 0) + 0.1 * noise)


@pytest.fixture
def lab(tmp_path):
  """Images, random models of ours, and what both sides compute of them."""
  rng = np.random.default_rng(0)
  pixels = rng.uniform(-1, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
  np.save(tmp_path / 'batch.npy', pixels)

  def ours(checkpoint):
    """Returns the logits of `vit_jax predict`."""
    path = tmp_path / 'logits.npy'
    batch = str(tmp_path / 'batch.npy')
    assert predict.run(str(checkpoint), batch, logits_path=str(path)) == 0
    return np.load(path)

  def draw(path, shape):
    noise = rng.standard_normal(shape, np.float32)
    if path.endswith('kernel'):
      fan_in = shape[0] if 'attention/' in path else np.prod(shape[:-1])
      return noise / np.sqrt(fan_in, dtype=np.float32)
    return path.endswith('scale') + 0.1 * noise

  def save(name, rows, **fields):
    """Writes a random model of ours as an .npz and returns its path."""
    config = schema.default()
    config.model.update(name=name, **fields)
    model = models.build(config.model, NUM_CLASSES)
    shapes = pytrees.flatten(models.params_of(model, (SIDE, SIDE)))
    flat = {path: draw(path, leaf.shape) for path, leaf in shapes.items()}
    npz.save(tmp_path / 'ours.npz', mapping.to_theirs(flat, rows))
    return tmp_path / 'ours.npz'

  return types.SimpleNamespace(
    pixels=pixels,
    folder=tmp_path,
    save=save,
    fill=_fill,
    ours=ours,
    by_torch=_by_torch,
    assert_same=_assert_same,
  )
