"""Layers in turn: each with its own parameters, or one loop over all of them.

A loop is compiled once, however deep the model is. Its parameters are those of
the layers block_0, block_1 and so on, stacked along a new first axis, as
`blocks`; `pytrees.stack` and `unstack` go from one form to the other.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax import pytrees

# What takes time: products, fused attention, sums, the masks of dropout, and
# what has a name, as attention weights have.
COSTLY = {
  'dot_general',
  'dot_product_attention_fwd_wrapper',
  'reduce_sum',
  'lt',
  'name',
}

# What the forward pass of a layer keeps for the backward pass, which computes
# the rest again (Chen et al., 2016). Products with parameters take most of the
# time; attention's own, which have batch dimensions, take most of the memory.
REMAT = {
  'none': None,
  'elementwise': lambda primitive, *_, **__: primitive.name in COSTLY,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'full': jax.checkpoint_policies.nothing_saveable,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerStack:
  """How layers are run; it changes what they cost and not what they compute.

  Attributes:
    scan: whether they are a loop.
    remat: a key of `REMAT`.
    constrain: maps activations between layers, [batch, ...], to the same under
      a sharding constraint.
  """

  scan: bool = False
  remat: str = 'none'
  constrain: Callable = lambda x: x

  def run(self, module, make_block, call, x, each):
    """Returns x after all layers, in a compact method of `module`.

    Args:
      module: gets the layers' parameters.
      make_block: make_block(name=..., parent=...) returns a layer's module.
      call: call(block, x, own) returns the layer's output, shaped as x.
      x: what the first layer gets.
      each: of each layer, what `call` gets as `own`; trees of one structure.
    """
    call, x = self._prepared(call), self.constrain(x)

    def in_turn(module, x):
      for layer, own in enumerate(each):
        name = pytrees.BLOCK.format(layer)
        x = call(make_block(name=name, parent=module), x, own)
      return x

    if not self.scan:
      return in_turn(module, x)
    if module.is_initializing():  # As without the loop, from the same seed.
      init = nn.map_variables(
        in_turn, 'params', pytrees.unstack, pytrees.stack, mutable=True
      )
      return init(module, x)
    loop = nn.scan(
      lambda block, x, own: (call(block, x, own), None),
      variable_axes={'params': 0, 'intermediates': 0},
      split_rngs={'dropout': True},
      length=len(each),
    )
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    return loop(make_block(name=pytrees.BLOCKS, parent=module), x, stacked)[0]

  def _prepared(self, call):
    def kept(block, x, own):
      return self.constrain(call(block, x, own))

    if self.remat == 'none':
      return kept
    # Nothing could be merged with the forward pass in a loop.
    return nn.remat(kept, policy=REMAT[self.remat], prevent_cse=not self.scan)
