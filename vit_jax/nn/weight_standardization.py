"""Convolutions with standardised kernels (Qiao et al., 2019, section 3.1).

The kernel of every output channel is shifted to mean zero and scaled to
variance one before use. The epsilon differs between the released families, and
weights reproduce their logits only with their own.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

_axes = (0, 1, 2)  # All but the output channels.


def divide_by_deviation(kernel):
  """Divides by std + 1e-5, as the released hybrids of the ViT paper do.

  Args:
    kernel: float32 [rows, columns, channels, features].
  """
  kernel = kernel - jnp.mean(kernel, _axes, keepdims=True)
  return kernel / (jnp.std(kernel, _axes, keepdims=True) + 1e-5)


def divide_by_root_of_variance(kernel):
  """Divides by sqrt(var + 1e-10), as BiT does (Kolesnikov et al., 2020).

  Args:
    kernel: float32 [rows, columns, channels, features].
  """
  kernel = kernel - jnp.mean(kernel, _axes, keepdims=True)
  return kernel / jnp.sqrt(jnp.var(kernel, _axes, keepdims=True) + 1e-10)


class StdConv(nn.Module, kw_only=True):
  """A convolution without bias, with a standardised kernel."""

  features: int
  kernel_size: int
  stride: int
  padding: str | int  # 'SAME', or a number of zeros on every side.
  standardize: Callable  # One of the functions above; computed in float32.
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    """Maps x [batch, height, width, channels] to [batch, ..., features]."""
    kernel = self.param(
      'kernel',
      nn.initializers.lecun_normal(),
      (self.kernel_size, self.kernel_size, x.shape[-1], self.features),
      jnp.float32,
    )
    zeros = (self.padding, self.padding)
    return jax.lax.conv_general_dilated(
      x.astype(self.dtype),
      self.standardize(kernel).astype(self.dtype),
      window_strides=(self.stride, self.stride),
      padding='SAME' if self.padding == 'SAME' else (zeros, zeros),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
