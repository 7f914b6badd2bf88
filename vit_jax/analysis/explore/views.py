"""What one model sees in one image: its attention, and what it makes of it."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.analysis import attention_distance, attention_maps, rollout


@dataclasses.dataclass(frozen=True)
class Model:
  """A model to be looked into.

  Attributes:
    name: what to call it.
    module: what `models.build` returns, of a family with attention.
    params: its parameters.
    patch_size: input pixels from one patch to the next.
    class_names: of each output of its head; empty where it has none.
  """

  name: str
  module: Any
  params: Any
  patch_size: int
  class_names: Sequence[str] = ()

  @property
  def depth(self):
    return self.module.encoder.depth

  def grid(self, pixels):
    """Returns (rows, columns) of the patches of an image."""
    return tuple(side // self.patch_size for side in pixels.shape[:2])


@dataclasses.dataclass(frozen=True)
class View:
  """What a model sees in an image; tokens end with the patches, row by row.

  Attributes:
    grid: (rows, columns) of the patches.
    heads: float32 [layers, heads, tokens, tokens] attention weights, of the
      layers that were asked for.
    mean: float32 [layers, tokens, tokens], their means over heads.
    rollout: float32 [layers, tokens, tokens], from the input to those layers.
    pooling: float32 [tokens], how much of each token is pooled.
    distance: float32 [depth, heads], mean attention distances in pixels.
    entropy: float32 [depth, heads] of rows of weights, in bits, the mean over
      queries.
    logits: float32 [classes].
  """

  grid: tuple[int, int]
  heads: np.ndarray
  mean: np.ndarray
  rollout: np.ndarray
  pooling: np.ndarray
  distance: np.ndarray
  entropy: np.ndarray
  logits: np.ndarray


def compute(model, pixels, layers):
  """Returns the `View` of an image.

  Args:
    model: a `Model`.
    pixels: float32 [height, width, 3], in [-1, 1].
    layers: numbers of the layers whose weights are wanted, from 1.
  """
  grid = model.grid(pixels)
  indices = tuple(layer - 1 for layer in layers)
  # What is drawn should not depend on what computes it.
  with jax.default_matmul_precision('highest'):
    seen = _compute(
      model.module, grid, model.patch_size, indices, model.params, pixels[None]
    )
  heads, flows, *others = jax.tree.map(np.asarray, seen)
  rollouts = list(_rollouts(flows))
  chosen = [rollouts[index] for index in indices]
  mean = heads.mean(axis=1)
  return View(grid, heads, mean, np.stack(chosen), *others)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _compute(module, grid, patch_size, indices, params, pixels):
  """Compiled: weights of all other layers are reduced as each layer has them.

  Flows are multiplied outside of it, else XLA would keep all weights for that.
  """
  seen = attention_maps.compute(module, params, pixels)
  logits = seen.output.logits
  return (
    jnp.stack([seen.layers[index][0] for index in indices]),
    jnp.stack([rollout.layer_flow(layer)[0] for layer in seen.layers]),
    seen.pooling[0],
    jnp.stack(
      [
        attention_distance.attention_distance(layer[0], grid, patch_size)
        for layer in seen.layers
      ]
    ),
    jnp.stack([_entropy(layer[0]) for layer in seen.layers]),
    jnp.zeros(0) if logits is None else logits[0],
  )


def _entropy(weights):
  """Returns [heads]: bits of rows of [heads, tokens, tokens], the mean."""
  bits = jax.scipy.special.entr(weights).sum(-1) / jnp.log(2.0)
  return bits.mean(-1)


def _rollouts(flows):
  """Yields the flow from the input through one layer, two, and so on."""
  flow = np.eye(flows.shape[-1], dtype=np.float32)
  for layer in flows:
    flow = layer @ flow
    yield flow
