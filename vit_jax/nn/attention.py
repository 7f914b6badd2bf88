"""Multi-head attention (ViT paper, appendix A, equations 5-8)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from vit_jax.nn import attention_kernels, dot_general


class Attention(nn.Module, kw_only=True):
  """Queries attend to tokens, with several heads.

  The attention weights are sown as 'weights', [batch, heads, queries, tokens].
  Unless collected they cost nothing; cuDNN never materializes them.
  """

  num_heads: int
  dtype: jnp.dtype = jnp.float32
  implementation: str = 'xla'  # Or cudnn; see `attention_kernels.choose`.

  @nn.compact
  def __call__(self, queries, tokens, relative_keys=None):
    """Maps queries [batch, queries, width] to an array of the same shape.

    Args:
      queries: [batch, queries, width].
      tokens: [batch, tokens, width]; what is attended to.
      relative_keys: None, or [queries + tokens - 1, width]: keys that depend
        on the offset between query and token, whose logits are added to those
        of the content (paper, appendix D.4).
    """
    width = queries.shape[-1]
    query = self._project('query')(queries)  # eq. 5
    key = self._project('key')(tokens)  # [batch, tokens, heads, head_dim]
    value = self._project('value')(tokens)
    collected = self.is_mutable_collection('intermediates')
    if self.implementation == 'cudnn' and not collected:
      heads = attention_kernels.cudnn(query, key, value)
    else:
      # Transposed once here, not in every product, forward and backward.
      query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
      logits = _logits(query, key, relative_keys)
      self.sow('intermediates', 'weights', jax.nn.softmax(logits))
      heads = _average(logits, value)  # [batch, queries, heads, head_dim]
    return nn.DenseGeneral(  # eq. 8
      width,
      axis=(-2, -1),
      kernel_init=nn.initializers.xavier_uniform(),
      dtype=self.dtype,
      dot_general=dot_general.dot_general,
      name='out',
    )(heads)

  def _project(self, name):
    def project(x):
      return nn.DenseGeneral(
        (self.num_heads, x.shape[-1] // self.num_heads),
        kernel_init=nn.initializers.xavier_uniform(),
        dtype=self.dtype,
        dot_general=dot_general.dot_general,
        name=name,
      )(x)

    return project


@jax.custom_vjp
def _average(logits, value):
  """Returns the weighted values, [batch, queries, heads, head_dim].

  Its gradient is written out, so that of all arrays of size queries x tokens
  only the weights are saved for it, in the dtype in which they were multiplied.

  Args:
    logits: float32 [batch, heads, queries, tokens].
    value: [batch, heads, tokens, head_dim].
  """
  return _average_forward(logits, value)[0]


def _average_forward(logits, value):
  weights = jax.nn.softmax(logits).astype(value.dtype)  # eq. 6
  weights = checkpoint_name(weights, 'weights')  # See layer_stack.COSTLY.
  heads = jnp.einsum('bhqk,bhkd->bhqd', weights, value)  # eq. 7
  return heads.swapaxes(1, 2), (weights, value)


def _average_backward(kept, grad):
  weights, value = kept
  grad = grad.swapaxes(1, 2)
  of_weights = jnp.einsum('bhqd,bhkd->bhqk', grad, value).astype(jnp.float32)
  mean = jnp.sum(weights * of_weights, -1, keepdims=True)
  of_logits = weights * (of_weights - mean)
  return of_logits, jnp.einsum('bhqk,bhqd->bhkd', weights, grad)


_average.defvjp(_average_forward, _average_backward)


def _logits(query, key, relative_keys):
  """Returns float32 [batch, heads, queries, tokens].

  Of queries and keys [batch, heads, ..., head_dim].
  """
  query = (query / jnp.sqrt(query.shape[-1])).astype(query.dtype)
  logits = jnp.einsum('bhqd,bhkd->bhqk', query, key)
  if relative_keys is not None:
    logits += _relative_logits(query, relative_keys, key.shape[2])
  return logits.astype(jnp.float32)


def _relative_logits(query, relative_keys, num_tokens):
  """Returns [batch, heads, queries, tokens] logits of the offsets alone."""
  _, num_heads, num_queries, head_dim = query.shape
  offset = jnp.arange(num_tokens)[None] - jnp.arange(num_queries)[:, None]
  keys = relative_keys.reshape(-1, num_heads, head_dim).astype(query.dtype)
  keys = keys[offset + num_queries - 1]  # [queries, tokens, heads, head_dim]
  return jnp.einsum('bhqd,qkhd->bhqk', query, keys)


class AttentionPooling(nn.Module, kw_only=True):
  """Pools tokens by a learned query ("MAP", Zhai et al., 2022, section 3.2)."""

  num_heads: int
  mlp: nn.Module
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, tokens, *, train):
    """Maps tokens [batch, tokens, width] to [batch, width]."""
    batch, _, width = tokens.shape
    probe = self.param(
      'probe', nn.initializers.xavier_uniform(), (1, 1, width), jnp.float32
    )
    probe = jnp.tile(probe, (batch, 1, 1)).astype(self.dtype)
    x = Attention(num_heads=self.num_heads, dtype=self.dtype, name='attention')(
      probe, tokens
    )
    y = nn.LayerNorm(dtype=self.dtype, name='norm')(x)
    return (x + self.mlp(y, train=train))[:, 0]
