"""Which dimension of which parameter is split over which axis of the mesh.

Tensor parallelism as in Shoeybi et al. (2019), 'Megatron-LM', section 3: heads
and hidden units are split, so that attention and MLP each end in one sum over
devices. FSDP as in Rajbhandari et al. (2020), 'ZeRO', stage 3: every kernel is
split along `width` and gathered where it is used.
"""

import jax
from jax.sharding import PartitionSpec

from vit_jax import pytrees

# Pattern of the whole path: axes of the last dimensions; those before them
# are not split. The first pattern that matches applies.
RULES = (
  # [width, heads, head_dim], [heads, head_dim]
  (r'.*/attention/(query|key|value)/kernel', ('fsdp', 'tensor', None)),
  (r'.*/attention/(query|key|value)/bias', ('tensor', None)),
  # [heads, head_dim, width]
  (r'.*/attention/out/kernel', ('tensor', None, 'fsdp')),
  # [width, mlp_dim], [mlp_dim], [mlp_dim, width]
  (r'.*/mlp/hidden/kernel', ('fsdp', 'tensor')),
  (r'.*/mlp/hidden/bias', ('tensor',)),
  (r'.*/mlp/out/kernel', ('tensor', 'fsdp')),
  # [width, classes] and [width, hidden]; classes rarely divide.
  (r'(objective/)?head(_hidden)?/kernel', ('fsdp', None)),
  # The stem's [rows, columns, 3, width], convolutions [rows, columns, in, out].
  (r'.*/kernel', ('fsdp',)),
  # Tokens, position embeddings, biases and norms: small, and replicated.
  (r'.*', ()),
)


def specs(params_shape, mesh):
  """Returns the tree of `PartitionSpec`, one per parameter.

  An axis whose size does not divide its dimension is left out: the dimension
  is then replicated, which `report` lists.

  Args:
    params_shape: tree of parameters or of their shapes.
    mesh: a mesh with the axes that `RULES` name.
  """

  def spec(leaf, axes):
    fits = [
      axis if _divides(mesh, axis, size) else None
      for axis, size in zip(axes, leaf.shape)
    ]
    return PartitionSpec(*fits)

  return jax.tree.map(spec, params_shape, _axes(params_shape))


def report(params_shape, mesh):
  """Returns a line for each rule and each dimension that has no effect.

  Of the rules for mesh axes larger than 1: those that match no parameter, and
  the dimensions that the axis does not divide.
  """
  axes_by_path = pytrees.flatten(_axes(params_shape))
  lines = []
  used = _used(params_shape)
  for pattern, axes in RULES:
    is_on = any(axis and mesh.shape[axis] > 1 for axis in axes)
    if is_on and pattern not in used:
      lines.append(f'The rule {pattern} matches no parameter of this model.')
  for path, leaf in pytrees.flatten(params_shape).items():
    for axis, size in zip(axes_by_path[path], leaf.shape):
      if not _divides(mesh, axis, size):
        lines.append(
          f'{path} {list(leaf.shape)}: {axis}={mesh.shape[axis]} does not '
          f'divide {size}; that dimension is replicated.'
        )
  return lines


def _axes(params_shape):
  """Returns the tree of axes or None per dimension, each a PartitionSpec."""
  rules = [(pattern, PartitionSpec(*axes)) for pattern, axes in RULES]

  def align(path, leaf, axes):
    whole = leaf.ndim - len(axes)
    assert whole >= 0, f'{path} {leaf.shape} has fewer dimensions than {axes}.'
    return PartitionSpec(*[None] * whole, *axes)

  matched = pytrees.match(rules, params_shape, 'sharding.rules.RULES')
  return pytrees.map_with_path(align, params_shape, matched)


def _used(params_shape):
  """Returns the patterns that apply to at least one parameter."""
  patterns = [(pattern, pattern) for pattern, _ in RULES]
  matched = pytrees.match(patterns, params_shape, 'sharding.rules.RULES')
  return set(pytrees.flatten(matched).values())


def _divides(mesh, axis, size):
  return axis is None or size % mesh.shape[axis] == 0
