"""The cheapest way to make a training fit into the memory of its devices."""

import dataclasses
from typing import Any

from vit_jax import errors
from vit_jax.training import assembly


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A way that was looked at.

  Attributes:
    changes: {field: value}, what it sets.
    needed: bytes on a device.
    plan: what came of it; None: it takes at least `needed` bytes, which were
      too many to compile it.
  """

  changes: dict[str, Any]
  needed: int
  plan: Any = None


def search_space(config, num_devices):
  """Yields {field: value}, ways to train the same, from cheap to dear.

  Splitting the parameters costs hardly more traffic than splitting the batch
  alone, so it comes first; then more and more of the forward pass is computed
  twice; then the batch is taken in parts.

  Args:
    config: of the run; its mesh.tensor stays, and so does what it spends
      already to save memory.
    num_devices: that there are.
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
  parts = 2 * config.optimizer.accumulation_steps
  while config.run.batch_size % (splits * parts) == 0:
    yield {
      **widest,
      'model.remat': 'full',
      'optimizer.accumulation_steps': parts,
    }
    parts *= 2


def search(config, num_devices, capacity, state_bytes, make):
  """Returns the first plan of `search_space` that fits, and all candidates.

  Args:
    config: of the run.
    num_devices: that there are.
    capacity: bytes of memory of a device.
    state_bytes: tells of a configuration the bytes of its training state on a
      device, without compiling it.
    make: returns the plan of a configuration; has needed (bytes), fits and
      params_bytes.

  Returns:
    The plan, or None: nothing fits; and a list of `Candidate`.

  Raises:
    UserError: the memory is not known, or the mesh does not go with the
      devices.
  """
  if capacity is None:
    raise errors.UserError(
      '--mesh=auto looks for what fits into the memory of a chip, and '
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
    # Splitting the parameters splits their gradients too, and nothing else.
    unsplit = max(0, plan.needed - state - plan.params_bytes)
  return None, candidates


def _changed(config, changes):
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    for field, value in changes.items():
      group, name = field.split('.')
      changed[group][name] = value
  return changed
