"""Where a Transformer looks: the attention weights of every layer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vit_jax import errors, pytrees
from vit_jax.models import outputs


class AttentionMaps(NamedTuple):
  """What a model usually throws away.

  layers: of each layer, float32 [batch, heads, tokens, tokens]: how much a
    token (second to last axis) takes from each token (last axis).
  pooling: float32 [batch, tokens], how much of each token is pooled; the heads
    of attention pooling are averaged.
  output: the `outputs.Output` of the same pass.

  Layers and pooling sum to one over the last axis.
  """

  layers: list
  pooling: jax.Array
  output: outputs.Output


def compute(model, params, images):
  """Runs the model and returns its `AttentionMaps`.

  Args:
    model: what `models.build` returns, of a family that passes `check`.
    params: its parameters.
    images: [batch, height, width, 3], in [-1, 1].
  """
  output, state = model.apply(
    {'params': params}, images, train=False, mutable=['intermediates']
  )
  sown = state['intermediates']
  blocks = pytrees.unstack(sown['encoder'])
  layers = [
    blocks[f'block_{layer}']['attention']['weights'][0]
    for layer in range(model.encoder.depth)
  ]
  batch, _, num_tokens, _ = layers[0].shape
  pooling = _pooling(model, sown, batch, num_tokens)
  return AttentionMaps(layers, pooling, output)


def check(family):
  """Raises UserError where models of a `models.Family` have no attention."""
  if not family.has_attention:
    raise errors.UserError(
      f'A {family.title} has no attention weights; a plain or a hybrid ViT has.'
    )


def _pooling(model, sown, batch, num_tokens):
  """Returns how much of each token is pooled, [batch, tokens]."""
  if model.class_token:
    return jnp.tile(jnp.eye(1, num_tokens), (batch, 1))
  if 'pooling' in sown:
    weights = sown['pooling']['attention']['weights'][0]
    return jnp.mean(weights, axis=(1, 2))  # Of one query.
  return jnp.full((batch, num_tokens), 1 / num_tokens)
