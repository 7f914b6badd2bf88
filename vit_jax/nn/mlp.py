"""The MLP of a Transformer layer (ViT paper, section 3.1)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.nn import dot_general


def _gelu(approximate):
  """Returns GELU, which saves only its input for the gradient.

  In a loop over layers, everything saved is copied there and back.
  """
  gelu = functools.partial(nn.gelu, approximate=approximate)
  return jax.checkpoint(gelu, prevent_cse=False)


# Google's weights were trained with the tanh approximation; timm's and DeiT's
# with the exact function.
GELU = {'tanh': _gelu(approximate=True), 'erf': _gelu(approximate=False)}


class Mlp(nn.Module, kw_only=True):
  """Two dense layers with GELU between them; dropout after each."""

  mlp_dim: int
  dropout: float = 0.0
  gelu: str = 'tanh'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, *, train):
    """Maps tokens [batch, tokens, width] to tokens of the same shape."""
    width = x.shape[-1]
    x = self._dense(self.mlp_dim, 'hidden')(x)
    x = GELU[self.gelu](x)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    x = self._dense(width, 'out')(x)
    return nn.Dropout(self.dropout, deterministic=not train)(x)

  def _dense(self, features, name):
    return nn.Dense(
      features,
      kernel_init=nn.initializers.xavier_uniform(),
      bias_init=nn.initializers.normal(stddev=1e-6),
      dtype=self.dtype,
      dot_general=dot_general.dot_general,
      name=name,
    )
