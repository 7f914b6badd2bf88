"""What devices must send each other in a training step, from shapes alone.

A second road to what `collectives` reads from the compiled program: if the two
disagree, the compiler moves what it need not. Bytes that each device sends, as
`collectives.Traffic` counts.
"""

import collections
import math

from vit_jax import pytrees


def of_parameters(params, itemsize=4, layer_gathers=1):
  """Returns {kind: bytes}: parameters gathered, gradients summed.

  What is split over `fsdp` is gathered, and its gradient summed and scattered
  (Rajbhandari et al., 2020, section 7.2); the gradients of all else are summed
  whole. Over `data` they are summed once more.

  Args:
    params: tree of shapes with their shardings on a mesh (data, fsdp, tensor).
    itemsize: bytes of a number that is sent.
    layer_gathers: of each parameter of a layer in a step: 1 where what is
      gathered for the forward pass is kept for the backward pass; 2 in a loop
      over layers, and where a layer is computed again.
  """
  sent = collections.Counter()
  for path, leaf in pytrees.flatten(params).items():
    axes = leaf.sharding.spec
    mesh = leaf.sharding.mesh.shape
    size = itemsize * leaf.size
    if 'tensor' in axes:
      size /= mesh['tensor']
    if 'fsdp' in axes:
      share = _share(mesh['fsdp'])
      gathers = layer_gathers if '/block' in path else 1
      sent['all-gather'] += gathers * size * share
      sent['reduce-scatter'] += size * share
      shards, group = mesh['fsdp'], mesh['data']
    else:
      shards, group = 1, mesh['data'] * mesh['fsdp']
    sent['all-reduce'] += 2 * size / shards * _share(group)
  return {kind: num_bytes for kind, num_bytes in sent.items() if num_bytes}


def of_tensor_parallelism(tokens_shape, depth, mesh, itemsize=4, num_sums=4):
  """Returns the bytes of the all-reduces of activations between layers.

  Shoeybi et al. (2019), section 3: attention and MLP each end in a sum over
  devices, forward and backward.

  Args:
    tokens_shape: (batch, tokens, width) over all devices.
    depth: number of layers.
    mesh: {axis: size}.
    itemsize: bytes of a number that is sent.
    num_sums: per layer; a compiler that does not add up what the gradients of
      queries, keys and values say of their common input before it is sent makes
      two more.
  """
  local = math.prod(tokens_shape) / (mesh['data'] * mesh['fsdp'])
  return 2 * num_sums * depth * local * itemsize * _share(mesh['tensor'])


def _share(n):
  return (n - 1) / n
