"""Attention implementations: XLA's, or the fused kernel of cuDNN.

The kernel (flash attention; Dao et al., 2022) never writes the weights to
memory. It is for NVIDIA GPUs, 16-bit dtypes and heads of 8, 16, ... dimensions;
where it does not fit, XLA gives the same numbers.
"""

import functools
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vit_jax import errors

CHOICES = ('auto', 'xla', 'cudnn')


class Choice(NamedTuple):
  """The implementation; and why it is not cuDNN, where that was considered."""

  name: str  # 'xla' or 'cudnn'.
  reason: str | None


def choose(wanted, dtype, head_dim, has_relative_keys, platform):
  """Returns the `Choice` for a model.

  Args:
    wanted: 'xla', 'cudnn', or 'auto': cuDNN where it fits.
    dtype: of queries, keys and values.
    head_dim: of each head.
    has_relative_keys: whether there are relative position embeddings.
    platform: of the devices it runs on, e.g. 'gpu'; None: it runs on none, so
      that XLA will do.

  Raises:
    UserError: cuDNN is wanted, and has no kernel for such a model. If only the
      GPU is missing, there is a warning instead.
  """
  if wanted == 'xla':
    return Choice('xla', None)
  reason = _misfit(dtype, head_dim, has_relative_keys)
  if reason and wanted == 'cudnn':
    raise errors.UserError(
      f'model.attention=cudnn does not fit: {reason}. '
      'model.attention=auto takes cuDNN only where it fits.'
    )
  if not reason:
    reason = _missing(dtype, head_dim, platform)
    if reason and wanted == 'cudnn' and platform:
      warnings.warn(f'Using XLA instead of cuDNN: {reason}.', stacklevel=2)
  return Choice('xla', reason) if reason else Choice('cudnn', None)


def _misfit(dtype, head_dim, has_relative_keys):
  """Returns why cuDNN supports the model on no GPU, or None."""
  if jnp.dtype(dtype).itemsize != 2:
    return f'it needs model.dtype=bfloat16, and this is {jnp.dtype(dtype)}'
  if head_dim % 8:
    return f'{head_dim} dimensions per head are not a multiple of 8'
  if has_relative_keys:
    return 'it does not support relative position embeddings'
  return None


def _missing(dtype, head_dim, platform):
  """Returns what cuDNN needs and the devices lack, or None."""
  if platform is None:
    return 'there are no devices to run on'
  if platform != 'gpu':
    return (
      f'it needs an NVIDIA GPU, and the devices here are of kind {platform}'
    )
  heads = jax.ShapeDtypeStruct((1, 17, 1, head_dim), dtype)
  try:
    jax.eval_shape(jax.grad(_sum_of_attention), heads)
  except (RuntimeError, NotImplementedError, ValueError) as error:
    return f'JAX finds no kernel for this GPU ({error})'
  return None


def _sum_of_attention(heads):
  return cudnn(heads, heads, heads).astype(jnp.float32).sum()


def cudnn(query, key, value):
  """Returns attention's output, [batch, queries, heads, head_dim].

  JAX refuses the gradient for an odd number of queries or tokens, which most
  ViTs have: one more is then added and masked.

  Args:
    query: [batch, queries, heads, head_dim], not scaled.
    key: [batch, tokens, heads, head_dim].
    value: as the keys.
  """
  attend = functools.partial(
    jax.nn.dot_product_attention, implementation='cudnn'
  )
  num_queries, num_tokens = query.shape[1], key.shape[1]
  if num_queries % 2 == num_tokens % 2 == 0:
    return attend(query, key, value)
  lengths = functools.partial(jnp.full, query.shape[:1], dtype=jnp.int32)
  out = attend(
    *map(_pad_to_even, (query, key, value)),
    query_seq_lengths=lengths(num_queries),
    key_value_seq_lengths=lengths(num_tokens),
  )
  return out[:, :num_queries]


def _pad_to_even(x):
  return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))
