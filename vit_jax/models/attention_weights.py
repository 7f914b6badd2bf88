"""Where a Transformer looks: the attention weights of every layer."""

import jax.numpy as jnp

from vit_jax import errors
from vit_jax.models import vit


def attention_weights(model, params, images):
  """Runs the model and returns what it usually throws away.

  Args:
    model: what `models.build` returns; a plain or a hybrid ViT.
    params: its parameters.
    images: [batch, height, width, 3], in [-1, 1].

  Returns:
    float32 [depth, batch, heads, tokens, tokens]: how much a token (second to
    last axis) takes from each token (last axis); sums to one over the last.

  Raises:
    UserError: the model has no attention.
  """
  if not isinstance(model, vit.ViT):
    raise errors.UserError(
      f'A {type(model).__name__} has no attention weights; a plain or a '
      'hybrid ViT has.'
    )
  _, state = model.apply(
    {'params': params}, images, train=False, mutable=['intermediates']
  )
  layers = state['intermediates']['encoder']
  return jnp.stack(
    [
      layers[f'block_{layer}']['attention']['weights'][0]
      for layer in range(model.encoder.depth)
    ]
  )
