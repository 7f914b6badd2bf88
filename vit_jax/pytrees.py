"""Trees by path: flatten, map, match patterns, diff.

A path joins the keys of a leaf with slashes: encoder/block_3/mlp/expand/kernel.
"""

import re

import jax

from vit_jax import errors


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


def _name(key):
  for attribute in 'key', 'name', 'idx':
    if hasattr(key, attribute):
      return getattr(key, attribute)
  raise TypeError(f'A key of unknown kind: {key!r}.')
