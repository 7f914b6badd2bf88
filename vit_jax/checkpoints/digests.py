"""A number for each leaf of a state that changes when any bit of it does.

It is computed where the leaf lies and does not depend on how it is split, so a
state has the same digests on one device and on many. The change of one word
always shows; that of many goes unseen once in 2**32, or in 2**16 where all that
changed are two signs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec

from vit_jax import errors, files, pytrees

_INDEX = np.uint32(2654435761)  # Knuth, vol. 3, section 6.4: 2**32 / 1.618.
_NOTHING = 2**32 - 1  # In place of the number of a leaf.
_MAX_SIDE = 1 << 40
_CHUNK = 1 << 16  # Words that NumPy takes at once; they fit into a cache.


def of(state):
  """Returns {path: digest}, an int of 32 bits for each leaf.

  All processes of a run must call it.

  Args:
    state: a tree of `jax.Array` on one mesh; where devices hold copies of the
      same part of a leaf, they are compared.

  Raises:
    UserError: a number is not finite, or copies of a leaf differ, which means
      that a device or its memory is at fault.
  """
  flat = pytrees.flatten(state)
  measured = [_measure(leaf, leaf.sharding) for leaf in flat.values()]
  fetched = jax.device_get(
    [[_by_device(part) for part in pair] for pair in measured]
  )
  rows = [
    (number, *place, digest[device].item(), finite[device].item())
    for number, (leaf, (digest, finite)) in enumerate(
      zip(flat.values(), fetched)
    )
    for device, place in _places(leaf).items()
  ]
  rows = np.array(rows, np.uint32)
  if jax.process_count() > 1:
    rows = _from_all_processes(rows)
  return _combine(list(flat), rows)


def of_array(array):
  """Returns the digest of a NumPy array, the number that `of` gives it."""
  flat = np.ascontiguousarray(array).reshape(-1)
  if flat.dtype == bool:
    flat = flat.view(np.uint8)
  words = flat.view(f'uint{8 * flat.dtype.itemsize}')
  digest = 0
  for start in range(0, len(words), _CHUNK):
    word = words[start : start + _CHUNK].astype(np.uint32)
    index = np.arange(start, start + len(word)).astype(np.uint32)
    factor = index * _INDEX
    factor = (factor ^ (factor >> 15)) | 1
    digest += int(np.sum((word ^ (word >> 16)) * factor, dtype=np.uint32))
  return digest % 2**32


def kinds(state):
  """Returns {path: dtype and shape as text} of arrays or their shapes."""
  return {
    path: f'{leaf.dtype} {list(leaf.shape)}'
    for path, leaf in pytrees.flatten(state).items()
  }


def shape_of(kind):
  """Returns the `jax.ShapeDtypeStruct` of one of `kinds`.

  Raises:
    ValueError: it is none.
    TypeError: likewise.
  """
  dtype, shape = kind.split(' ', maxsplit=1)
  shape = files.parse_json(shape)
  if not all(type(side) is int and 0 <= side <= _MAX_SIDE for side in shape):
    raise ValueError(f'{kind} is no array of numbers')
  return jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype))


@functools.partial(jax.jit, static_argnames='sharding')
def _measure(leaf, sharding):
  """Returns digests, uint32, and whether all is finite, bool, by device."""
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.random.key_data(leaf)
  by_device = PartitionSpec(sharding.mesh.axis_names)
  return jax.shard_map(
    functools.partial(_measure_part, spec=sharding.spec, shape=leaf.shape),
    mesh=sharding.mesh,
    in_specs=sharding.spec,
    out_specs=(by_device, by_device),
    check_vma=False,
  )(leaf)


def _measure_part(part, spec, shape):
  finite = jnp.all(jnp.isfinite(part))
  if part.dtype == bool:
    part = part.astype(jnp.uint8)
  unsigned = jnp.dtype(f'uint{8 * part.dtype.itemsize}')
  word = jax.lax.bitcast_convert_type(part, unsigned).astype(jnp.uint32)
  index = jnp.zeros(part.shape, jnp.uint32)  # In the whole leaf, mod 2**32.
  stride = 1
  for axis in reversed(range(part.ndim)):
    along = jax.lax.broadcasted_iota(jnp.uint32, part.shape, axis)
    if axis < len(spec) and spec[axis] is not None:
      first = jax.lax.axis_index(spec[axis]) * part.shape[axis]
      along += first.astype(jnp.uint32)
    index += along * np.uint32(stride % 2**32)
    stride *= shape[axis]
  # Sum of word times an odd number that looks random: no two terms can cancel
  # but by chance. The shift lets the top bits of a word have their say.
  factor = index * _INDEX
  factor = (factor ^ (factor >> 15)) | 1
  digest = jnp.sum((word ^ (word >> 16)) * factor, dtype=jnp.uint32)
  return digest[None], finite[None]


def _by_device(array):
  return {shard.device.id: shard.data for shard in array.addressable_shards}


def _places(leaf):
  """Returns {device: two numbers that tell which part of the leaf it holds}."""
  where = leaf.sharding.addressable_devices_indices_map(leaf.shape)
  places = {}
  for device, index in where.items():
    start = [part.start or 0 for part in index]
    first = int(np.ravel_multi_index(start, leaf.shape)) if any(start) else 0
    places[device.id] = divmod(first, 2**32)
  return places


def _from_all_processes(rows):
  most = int(multihost_utils.process_allgather(np.int32(len(rows))).max())
  padding = [(0, most - len(rows)), (0, 0)]
  padded = np.pad(rows, padding, constant_values=_NOTHING)
  rows = multihost_utils.process_allgather(padded).reshape(-1, rows.shape[-1])
  return rows[rows[:, 0] != _NOTHING]


def _combine(paths, rows):
  """Returns {path: digest} from rows, whichever device they come from."""
  parts = {}  # By leaf and place; copies must agree.
  differing, not_finite = set(), set()
  for number, *place, digest, finite in rows.tolist():
    if parts.setdefault((number, *place), digest) != digest:
      differing.add(paths[number])
    if not finite:
      not_finite.add(paths[number])
  _refuse(
    differing,
    'differs between the devices that hold copies of it: a device or its '
    'memory is at fault. Start again; if it comes back, leave the device out',
  )
  _refuse(
    not_finite,
    'holds numbers that are not finite, and is not saved. Lower '
    'optimizer.learning_rate or set optimizer.clip_norm, in a new --workdir',
  )
  digests = dict.fromkeys(paths, 0)
  for (number, *_), digest in parts.items():
    digests[paths[number]] = (digests[paths[number]] + digest) % 2**32
  return digests


def _refuse(paths, reason):
  if paths:
    shown = sorted(paths)[:3]
    more = f' and {len(paths) - 3} more' if len(paths) > 3 else ''
    raise errors.UserError(f'{", ".join(shown)}{more} {reason}.')
