"""Rules that give every parameter its decay, its rate, or freeze it.

A rule is a pair (pattern, value); the first pattern that matches the whole
path of a parameter counts, and every parameter must be matched. Layers that
are stacked (see `pytrees.stack`) still go by paths of their own, block_0,
block_1 and so on.
"""

import operator
import re

import jax
import numpy as np

from vit_jax import errors, pytrees


def multipliers(field, rules, params, layer_decay=None):
  """Gives every parameter a number, or one per layer that is stacked in it.

  Args:
    field: how the user calls the rules, e.g. 'optimizer.decay_rules'.
    rules: pairs (pattern, number of at least 0).
    params: tree of parameters or of their shapes.
    layer_decay: each number is multiplied by what `layerwise_decay` gives the
      layer at this rate; None: by nothing.

  Returns:
    {path: number}; where stacked layers differ, it is a float32 array that
    broadcasts against the parameter.

  Raises:
    UserError: a parameter is not covered, a rule matches none, or a value is
      no such number, or there are no layers to decay by.
  """
  for pattern, value in rules:
    if not isinstance(value, int | float) or value < 0:
      raise errors.UserError(
        f'{field} gives {pattern!r} the value {value!r}; '
        'it multiplies, so it is a number of at least 0.'
      )

  def merge(path, values, leaf):
    del path
    if (values == values.flat[0]).all():
      return values.flat[0].item()
    return np.float32(values).reshape(-1, *[1] * (leaf.ndim - 1))

  values = _match(field, rules, params)
  if layer_decay is not None:
    rules = layerwise_decay(_depth(params), layer_decay)
    factors = _match('optimizer.layer_decay', rules, params)
    values = jax.tree.map(operator.mul, values, factors)
  return pytrees.flatten(_merge(merge, values, params))


def trainable(field, rules, params):
  """Tells which parameters are trained.

  Args:
    field: how the user calls the rules, e.g. 'optimizer.trainable_rules'.
    rules: pairs (pattern, bool).
    params: tree of parameters or of their shapes.

  Returns:
    A tree of the structure of `params`, False where a parameter is frozen.

  Raises:
    UserError: a parameter is not covered, a rule matches none, a value is not
      a bool, stacked layers differ, or there is nothing to train.
  """
  for pattern, value in rules:
    if not isinstance(value, bool):
      raise errors.UserError(
        f'{field} gives {pattern!r} the value {value!r}; '
        'it is True (trained) or False (frozen).'
      )

  def merge(path, values, leaf):
    del leaf
    if not (values == values.flat[0]).all():
      raise errors.UserError(
        f'{field} freezes some layers of {path} and trains others; in a loop '
        'they are one array. Set model.scan=False.'
      )
    return values.flat[0].item()

  tree = _merge(merge, _match(field, rules, params), params)
  if not any(pytrees.flatten(tree).values()):
    raise errors.UserError(
      f'{field} freezes every parameter; at least one must be trained.'
    )
  return tree


def layerwise_decay(depth, rate):
  """Returns learning_rate_rules that grow with height in the network.

  The convention of BEiT (Bao et al., 2022, appendix) and MAE (He et al., 2022,
  table 9): the stem and the position embedding are layer 0, block i is layer
  i + 1, all that follows the blocks is layer depth + 1; layer l trains at
  rate ** (depth + 1 - l) of the learning rate. A wrong depth leaves blocks
  without a rule, which `multipliers` reports.

  Args:
    depth: number of blocks.
    rate: from 0 (exclusive) to 1; 0.65 to 0.75 is usual.

  Raises:
    UserError: the rate is out of range.
  """
  if not 0 < rate <= 1:
    raise errors.UserError(
      f'A layer-wise decay of {rate} does not fit; '
      'it is above 0 and at most 1 (no decay).'
    )
  lowest = r'(objective/)?[^/]*_token|stem/.*|encoder/position_embedding.*'
  return (
    (lowest, rate ** (depth + 1)),
    *((f'encoder/block_{i}/.*', rate ** (depth - i)) for i in range(depth)),
    (r'(?!encoder/block_).*', 1.0),
  )


def _depth(params):
  """Returns the number of blocks of an encoder."""
  blocks = {
    match[1]
    for path in pytrees.flatten(pytrees.unstack(params))
    if (match := re.match(r'encoder/(block_\d+)/', path))
  }
  if not blocks:
    raise errors.UserError(
      'optimizer.layer_decay goes by the blocks of a Transformer '
      '(encoder/block_0, ...), of which this model has none; leave it at None.'
    )
  return len(blocks)


def _match(field, rules, params):
  """Returns the value of each parameter of each layer, as a tree.

  Raises:
    UserError: a rule is for nothing, as by a slip of the pen.
  """
  single = pytrees.unstack(params)
  tree = pytrees.match(rules, single, field)
  paths = pytrees.flatten(single)
  for pattern, _ in rules:
    if not any(re.fullmatch(pattern, path) for path in paths):
      raise errors.UserError(
        f'{field}: {pattern!r} matches no parameter. '
        f'{errors.nearest(pattern, paths)}'
      )
  return tree


def _merge(merge, values, params):
  """Returns a tree as `params`, whose layers may be stacked.

  Args:
    merge: (path, array of the values of its layers, parameter) -> its value.
    values: what `_match` returns.
    params: as of the functions above.
  """
  tree = jax.tree.map(np.asarray, values)
  if pytrees.are_stacked(params):
    tree = pytrees.stack(tree)
  return pytrees.map_with_path(merge, tree, params)
