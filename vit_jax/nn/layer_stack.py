"""A stack of layers: unrolled, or one loop (scan) over all of them.

A loop compiles one layer, however deep the model is. Its parameters are those
of the layers block_0, block_1 and so on, stacked along a new first axis, as
`blocks`; `pytrees.stack` and `unstack` convert between the two.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax import pytrees

# Expensive primitives: products, fused attention, sums, the masks of dropout,
# and what has a checkpoint name, as attention weights have.
COSTLY = {
  'dot_general',
  'dot_product_attention_fwd_wrapper',
  'reduce_sum',
  'lt',
  'name',
}

# Rematerialization: what the forward pass of a layer saves for the backward
# pass, which recomputes the rest (Chen et al., 2016). Products with parameters
# take most of the time; those of attention, which have batch dimensions, take
# most of the memory.
REMAT = {
  'none': None,
  'elementwise': lambda primitive, *_, **__: primitive.name in COSTLY,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'full': jax.checkpoint_policies.nothing_saveable,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerStack:
  """How layers are run; it changes their cost and not what they compute.

  Attributes:
    scan: whether they are one loop.
    remat: a key of `REMAT`.
    constrain: applies a sharding constraint to activations between layers,
      [batch, ...].
  """

  scan: bool = False
  remat: str = 'none'
  constrain: Callable = lambda x: x

  def run(self, module, make_block, call, x, each, layers=()):
    """Runs all layers, in a compact method of `module`.

    Args:
      module: gets the layers' parameters.
      make_block: make_block(name=..., parent=...) returns a layer's module.
      call: call(block, x, own) returns the layer's output, shaped as x.
      x: input of the first layer.
      each: the argument `own` of each layer; trees of one structure.
      layers: those whose outputs are asked for, counted from 1.

    Returns:
      x after all layers; and a tuple of it after each of `layers`, in their
      order.
    """
    call, x = self._prepared(call), self.constrain(x)

    def in_turn(module, x):
      after = {}
      for layer, own in enumerate(each):
        name = pytrees.BLOCK.format(layer)
        x = call(make_block(name=name, parent=module), x, own)
        after[layer + 1] = x
      return x, tuple(after[layer] for layer in layers)

    if not self.scan:
      return in_turn(module, x)
    if module.is_initializing():  # The same parameters as when unrolled.
      init = nn.map_variables(
        in_turn, 'params', pytrees.unstack, pytrees.stack, mutable=True
      )
      return init(module, x)

    def body(block, x, own):
      x = call(block, x, own)
      return x, x if layers else None

    loop = nn.scan(
      body,
      variable_axes={'params': 0, 'intermediates': 0},
      split_rngs={'dropout': True},
      length=len(each),
    )
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    block = make_block(name=pytrees.BLOCKS, parent=module)
    x, after = loop(block, x, stacked)  # after: [layers, batch, ...], or None
    return x, tuple(after[layer - 1] for layer in layers)

  def _prepared(self, call):
    def kept(block, x, own):
      return self.constrain(call(block, x, own))

    if self.remat == 'none':
      return kept
    # In a loop, XLA cannot merge the recomputation with the forward pass.
    return nn.remat(kept, policy=REMAT[self.remat], prevent_cse=not self.scan)
