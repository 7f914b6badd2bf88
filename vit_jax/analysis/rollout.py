"""Attention rollout: how much of each patch reaches what the model pools.

Abnar & Zuidema (2020), section 3, as for figures 6 and 14 of the ViT paper
(appendix D.8).
"""

import functools

import jax
import jax.numpy as jnp

from vit_jax.analysis import attention_maps


def rollout(layers):
  """Follows the flow of tokens through attention and residual connections.

  Args:
    layers: float32 [batch, heads, tokens, tokens] of each layer, the first one
      first: attention weights, which sum to one over the last axis.

  Returns:
    float32 [batch, tokens, tokens]: how much of each input token (last
    axis) is in each output token; sums to one over the last axis.
  """
  return compose([layer_flow(weights) for weights in layers])


def layer_flow(weights):
  """Returns the flow through one layer, [batch, tokens, tokens].

  One half of an output is what attention mixes, the heads averaged; the other
  is what the residual connection passes on.

  Args:
    weights: [batch, heads, tokens, tokens].
  """
  mixed = jnp.mean(weights, axis=1)
  return (mixed + jnp.eye(mixed.shape[-1])[None]) / 2


def compose(flows):
  """Returns the flow through several layers: their product.

  Args:
    flows: what `layer_flow` returns, of each layer, the first one first.
  """
  return functools.reduce(lambda flow, layer: _matmul(layer, flow), flows)


def patch_map(flow, pooling, grid):
  """Returns float32 [batch, rows, columns]: each patch's part in the pooled.

  What is missing to a sum of one comes from tokens that are no patches.

  Args:
    flow: [batch, tokens, tokens], of `rollout`.
    pooling: [batch, tokens], the fraction of each output token in what is
      pooled: all of the class token's, equal fractions, or those of attention
      pooling.
    grid: (rows, columns) of the patches, which are the last tokens.
  """
  rows, columns = grid
  reached = _matmul(pooling[:, None], flow)[:, 0]  # [batch, tokens]
  return reached[:, -rows * columns :].reshape(-1, rows, columns)


def make_map_of(model, grid):
  """Returns map_of(params, pixels): [batch, rows, columns], and logits.

  Logits are float32 [batch, classes], None for a model without a head.

  Attention weights, by far the largest thing here, are averaged over heads as
  each layer has them. The product of layers is a program of its own: in one
  with the model, XLA would keep all weights for the end.
  """
  flows_of = make_flows_of(model)

  @jax.jit
  def join(flows, pooling):
    return patch_map(compose(flows), pooling, grid)

  def map_of(params, pixels):
    flows, pooling, logits = flows_of(params, pixels)
    return join(flows, pooling), logits

  return map_of


def make_flows_of(model):
  """Returns flows_of(params, pixels), compiled: flows, pooling and logits.

  The first two are what `compose` and `patch_map` take.
  """

  @jax.jit
  def flows_of(params, pixels):
    seen = attention_maps.compute(model, params, pixels)
    flows = [layer_flow(layer) for layer in seen.layers]
    return flows, seen.pooling, seen.output.logits

  return flows_of


def _matmul(a, b):
  return jnp.matmul(a, b, precision='highest')  # Rows still sum to one.
