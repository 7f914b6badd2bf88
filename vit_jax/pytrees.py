"""Trees by path: flatten, map, match patterns, diff; layers stacked and single.

A path joins the keys of a leaf with slashes: encoder/block_3/mlp/expand/kernel.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors

BLOCK, BLOCKS = 'block_{}', 'blocks'  # A layer; all of them, stacked.


def path_of(keys):
  """Returns the path, e.g. 'head/kernel', of the keys that JAX gives."""
  return '/'.join(str(_name(key)) for key in keys)


def flatten(tree):
  """Returns {path: leaf}, in the order of the tree."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_of(keys): leaf for keys, leaf in leaves}


def unflatten(flat):
  """Returns the nested dict of {path: leaf}."""
  tree = {}
  for path, leaf in flat.items():
    *parents, name = path.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return tree


def map_with_path(function, tree, *rest):
  """Returns the tree of function(path, leaf, *leaves of rest)."""
  return jax.tree_util.tree_map_with_path(
    lambda keys, *leaves: function(path_of(keys), *leaves), tree, *rest
  )


def match(rules, tree, name):
  """Gives every leaf the value of the first rule that matches its path.

  Args:
    rules: pairs (pattern, value); the pattern matches the whole path.
    tree: any tree.
    name: how the user calls the rules; for the error.

  Returns:
    A tree of values, of the same structure.

  Raises:
    UserError: lists the paths that no rule matches.
  """
  try:
    compiled = [(re.compile(pattern), value) for pattern, value in rules]
  except re.error as error:
    raise errors.UserError(f'{name}: {error} in {error.pattern!r}.') from error
  unmatched = [
    path
    for path in flatten(tree)
    if not any(pattern.fullmatch(path) for pattern, _ in compiled)
  ]
  if unmatched:
    raise errors.UserError(
      f'{name} must cover every parameter; nothing in it matches '
      f'{", ".join(unmatched)}. A last rule for ".*" covers the rest.'
    )
  return map_with_path(
    lambda path, _: next(
      value for pattern, value in compiled if pattern.fullmatch(path)
    ),
    tree,
  )


def diff(given, wanted):
  """Returns lines that tell where two flat trees differ, sorted by path.

  Args:
    given: {path: anything that compares and prints, such as a shape}.
    wanted: likewise.
  """
  lines = []
  for path in sorted(given.keys() | wanted.keys()):
    if path not in wanted:
      lines.append(f'- {path}: {given[path]} (not wanted)')
    elif path not in given:
      lines.append(f'+ {path}: {wanted[path]} (missing)')
    elif given[path] != wanted[path]:
      lines.append(f'! {path}: {given[path]} (wanted: {wanted[path]})')
  return lines


def stack(tree):
  """Returns a tree in which the layers of each dict are stacked, as `blocks`.

  Args:
    tree: of arrays or `jax.ShapeDtypeStruct`; the layers of a dict are what it
      has as block_0, block_1, ...
  """
  return _map_dicts(_stack, tree)


def unstack(tree):
  """Returns a tree with an entry per layer; undoes `stack`."""
  return _map_dicts(_unstack, tree)


def are_stacked(tree):
  """Returns whether any layers in a tree are stacked."""
  return jax.tree.structure(unstack(tree)) != jax.tree.structure(tree)


def _name(key):
  for attribute in 'key', 'name', 'idx':
    if hasattr(key, attribute):
      return getattr(key, attribute)
  raise TypeError(f'A key of unknown kind: {key!r}.')


def _map_dicts(function, tree):
  return jax.tree.map(
    lambda node: function(node) if isinstance(node, dict) else node,
    tree,
    is_leaf=lambda node: isinstance(node, dict),
  )


def _stack(node):
  names = []
  while BLOCK.format(len(names)) in node:
    names.append(BLOCK.format(len(names)))
  rest = {key: stack(node[key]) for key in node if key not in names}
  if not names:
    return rest
  blocks = jax.tree.map(
    lambda *leaves: _join(leaves), *(node[name] for name in names)
  )
  return {BLOCKS: blocks, **rest}


def _unstack(node):
  rest = {key: unstack(node[key]) for key in node if key != BLOCKS}
  if BLOCKS not in node:
    return rest
  depth = jax.tree.leaves(node[BLOCKS])[0].shape[0]
  layers = {
    BLOCK.format(layer): jax.tree.map(
      functools.partial(_part, layer), node[BLOCKS]
    )
    for layer in range(depth)
  }
  return {**layers, **rest}


def _join(leaves):
  first = leaves[0]
  if isinstance(first, jax.ShapeDtypeStruct):
    return _shape(
      first, (len(leaves), *first.shape), lambda spec: (None, *spec)
    )
  return (np if isinstance(first, np.ndarray) else jnp).stack(leaves)


def _part(layer, leaf):
  if isinstance(leaf, jax.ShapeDtypeStruct):
    return _shape(leaf, leaf.shape[1:], lambda spec: spec[1:])
  return leaf[layer]


def _shape(leaf, shape, change_spec):
  """Returns the shape with a leaf's dtype, and a sharding like its own."""
  sharding = leaf.sharding
  if isinstance(sharding, NamedSharding):
    spec = PartitionSpec(*change_spec(tuple(sharding.spec)))
    sharding = NamedSharding(sharding.mesh, spec)
  return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)
