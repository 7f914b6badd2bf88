"""What every model returns."""

import flax
import jax

from vit_jax import errors


@flax.struct.dataclass
class Output:
  """All that anyone reads of a forward pass; jit prunes what nobody does.

  tokens: [batch, tokens, width], after the last norm; a ResNet gives its last
    feature map, [batch, rows * columns, width].
  pooled: [batch, width], what the head reads.
  logits: float32 [batch, classes], None for a model without a head.
  layers: of each layer that was asked for, in that order, its output as
    [batch, tokens, width], before the last norm. The layers of a ResNet are
    its four blocks.
  """

  tokens: jax.Array
  pooled: jax.Array
  logits: jax.Array | None
  layers: tuple = ()


def resolve(layers, depth):
  """Returns layers as numbers from 1 to `depth`.

  Args:
    layers: ints; 1 is the first layer, `depth` or -1 the last.
    depth: how many there are.

  Raises:
    UserError: there is no such layer.
  """
  for layer in layers:
    if not isinstance(layer, int) or not 1 <= abs(layer) <= depth:
      raise errors.UserError(
        f'layers={tuple(layers)}: there is no layer {layer!r}; they are 1 to '
        f'{depth}, or -{depth} to -1 counted from the last.'
      )
  return tuple(layer if layer > 0 else depth + 1 + layer for layer in layers)
