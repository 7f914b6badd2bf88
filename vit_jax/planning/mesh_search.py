"""Search for the cheapest setup that fits into the memory of the devices."""

import dataclasses
from typing import Any

from vit_jax import errors
from vit_jax.training import assembly


@dataclasses.dataclass(frozen=True)
class Candidate:
  """An evaluated point of the search space.

  Attributes:
    changes: {field: value} that it sets.
    needed: bytes per device.
    plan: its plan; None: not compiled, since it needs at least `needed` bytes,
      which are too many.
  """

  changes: dict[str, Any]
  needed: int
  plan: Any = None


def search_space(config, num_devices):
  """Yields {field: value}, equivalent setups, from cheap to expensive.

  Sharding the parameters costs hardly more traffic than splitting the batch
  alone, so it comes first; then more and more rematerialization; then
  microbatches.

  Args:
    config: of the run; its mesh.tensor stays, and its own measures to save
      memory are only added to.
    num_devices: number of devices.
  """
  splits = num_devices // config.mesh.tensor
  sizes = [size for size in (1, 8, 64, splits) if not splits % size]
  meshes = [
    {'mesh.data': -1, 'mesh.fsdp': size}
    for size in dict.fromkeys(sizes)
    if size <= splits
  ]
  yield from meshes
  widest = meshes[-1]
  policies = ('none', 'elementwise', 'dots', 'full')
  for remat in policies[policies.index(config.model.remat) + 1 :]:
    yield {**widest, 'model.remat': remat}
  num_microbatches = 2 * config.optimizer.accumulation_steps
  while config.run.batch_size % (splits * num_microbatches) == 0:
    yield {
      **widest,
      'model.remat': 'full',
      'optimizer.accumulation_steps': num_microbatches,
    }
    num_microbatches *= 2


def search(config, num_devices, capacity, state_bytes, make):
  """Returns the first plan of `search_space` that fits, and all candidates.

  Args:
    config: of the run.
    num_devices: number of devices.
    capacity: bytes of memory of a device.
    state_bytes: maps a configuration to the bytes of its training state per
      device, without compiling it.
    make: maps a configuration to its plan, which has needed (bytes), fits and
      params_bytes.

  Returns:
    The plan, or None: nothing fits; and a list of `Candidate`.

  Raises:
    UserError: the memory is unknown, or the mesh does not fit the devices.
  """
  if capacity is None:
    raise errors.UserError(
      '--mesh=auto searches for what fits into the memory of a chip, and '
      '--topology names none; give it as v5p:4x4x4 or h100:64.'
    )
  candidates, unsplit = [], 0
  for changes in search_space(config, num_devices):
    changed = _changed(config, changes)
    state = state_bytes(changed)
    least = state + (0 if 'model.remat' in changes else unsplit)
    if least > capacity:
      candidates.append(Candidate(changes, least))
      continue
    assembly.validate(changed, num_devices)
    plan = make(changed)
    candidates.append(Candidate(changes, plan.needed, plan))
    if plan.fits:
      return plan, candidates
    # Sharding the parameters shards their gradients too, and nothing else.
    unsplit = max(0, plan.needed - state - plan.params_bytes)
  return None, candidates


def _changed(config, changes):
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    for field, value in changes.items():
      group, name = field.split('.')
      changed[group][name] = value
  return changed
