"""What every model returns."""

import flax
import jax


@flax.struct.dataclass
class Output:
  """All that anyone reads of a forward pass; jit prunes what nobody does.

  tokens: [batch, tokens, width], after the last norm; a ResNet gives its last
    feature map, [batch, rows * columns, width].
  pooled: [batch, width], what the head reads.
  logits: float32 [batch, classes], None for a model without a head.
  """

  tokens: jax.Array
  pooled: jax.Array
  logits: jax.Array | None
