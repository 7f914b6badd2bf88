"""What is in the folder of one saved step, and whether it's what was saved.

`state` holds the leaves, `run` what else the run remembers and a digest of each
leaf, and the manifest, written last, the files (see `manifest`).
"""

import contextlib
import re

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from vit_jax import errors, files, pytrees
from vit_jax.checkpoints import (
  digests,
  manifest,
  orbax_stores,
  stored_arrays,
)

MAX_RECORD = 128 << 20  # Bytes of what a run remembers, metrics above all.

# In older versions, masked-patch prediction had its own parameters not under
# `objective` but beside those of the model.
_MASK_TOKEN = re.compile(r'params/mask_token')
_NUMBERS = ('float', 'bfloat', 'int', 'uint', 'bool')  # No keys of PRNGs.
_OF_OBJECTIVE = re.compile(r'^(.*/)?(mask_token|head/[^/]+)$')


def content(facts, record, state):
  """Returns what goes into `run`, as JSON holds it.

  Args:
    facts: go into the manifest, too.
    record: anything JSON holds.
    state: tree of arrays.

  Raises:
    UserError: as `digests.of`.
  """
  return {
    'facts': facts,
    'record': record,
    'kinds': digests.kinds(state),
    'digests': digests.of(state),
  }


def save_args(state, content):
  """Returns what orbax is to write."""
  return ocp.args.Composite(
    **{manifest.LEAVES: ocp.args.StandardSave(state)},
    run=ocp.args.JsonSave(content),
  )


def check(step_dir, data=True):
  """Checks the files of a step.

  Args:
    step_dir: folder of the step.
    data: see `manifest.check`.

  Returns:
    The `content` it was saved with.

  Raises:
    Damaged: names the file, and what is wrong with it.
  """
  if manifest.is_committed(step_dir):
    manifest.check(step_dir, data)
  with as_damage():
    path = step_dir / 'run' / 'metadata'
    return files.read_json(path, MAX_RECORD, finite=False)


def load(step_dir, abstract_state):
  """Reads and checks a step; all processes succeed or none.

  Layers may be stacked in one of the two, the step and the given tree.

  Args:
    step_dir: folder of the step.
    abstract_state: a tree of `jax.ShapeDtypeStruct` with shardings.

  Returns:
    The state and the `content` it was saved with.

  Raises:
    Damaged: names what is not as it was saved.
    UserError: it is, but doesn't fit the given tree.
  """
  with _together():
    saved = check(step_dir)
    with as_damage():
      saved = _renamed(saved)
  wanted = digests.kinds(abstract_state)
  if wanted != saved['kinds']:
    state = _load_otherwise_stacked(step_dir, abstract_state, saved)
    if state is not None:
      return state, saved
    lines = pytrees.diff(saved['kinds'], wanted)
    listed = '\n'.join(f'  {line}' for line in lines)
    raise errors.UserError(
      f'{step_dir} does not fit this model and optimizer:\n{listed}\n'
      'Train with the configuration and the version it was saved with.'
    )
  return _read_leaves(step_dir, abstract_state, saved), saved


def _renamed(saved):
  """Returns the content of a step with the paths of this version."""
  names = names_in_step(saved['kinds'])
  by_path = {
    table: {path: saved[table][name] for path, name in names.items()}
    for table in ('kinds', 'digests')
  }
  return {**saved, **by_path, 'names': names}


def _load_otherwise_stacked(step_dir, abstract_state, saved):
  """Returns the state, or None where stacking alone does not explain it."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
  for there, back in (
    (pytrees.stack, pytrees.unstack),
    (pytrees.unstack, pytrees.stack),
  ):
    other = there(abstract_state)
    if digests.kinds(other) == saved['kinds']:
      state = _read_leaves(step_dir, other, saved)
      return jax.jit(back, out_shardings=shardings)(state)
  return None


def verify(step_dir):
  """Reads and checks a step as it was saved, onto one device.

  Raises:
    Damaged: names what is not as it was saved.
  """
  saved = check(step_dir)
  mesh = jax.sharding.Mesh(jax.local_devices()[:1], ('one',))
  sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  with as_damage():
    _check_arrays(step_dir, saved)
    stored = ocp.StandardCheckpointHandler().metadata(_leaves_dir(step_dir))
    shapes = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=sharding
      ),
      stored.tree,
    )
  _read_leaves(step_dir, shapes, saved)


def _check_arrays(step_dir, saved):
  """Raises where the arrays of a step are not those it was saved with."""
  names = saved.get('names', {path: path for path in saved['kinds']})
  kinds = {
    names[path]: digests.shape_of(kind)
    for path, kind in saved['kinds'].items()
    if kind.startswith(_NUMBERS)
  }
  stored_arrays.shapes(_leaves_dir(step_dir), kinds)


def names_in_step(paths):
  """Returns {path in this version: path in the step}.

  Args:
    paths: of all leaves in the step.
  """
  beside = any(_MASK_TOKEN.fullmatch(path) for path in paths)
  return {
    (_OF_OBJECTIVE.sub(r'\1objective/\2', path) if beside else path): path
    for path in paths
  }


def first_line(error):
  """Returns the kind of an error and how its message begins."""
  lines = str(error).strip().splitlines()
  return f'{type(error).__name__}: {lines[0][:300] if lines else "no message"}'


def _read_leaves(step_dir, shapes, saved):
  with _together(), as_damage():
    _check_arrays(step_dir, saved)
    state = _restore(_leaves_dir(step_dir), shapes, saved.get('names', {}))
  try:
    given, wanted = digests.of(state), saved['digests']
  except errors.UserError as error:  # A flipped bit may have made a NaN.
    raise manifest.Damaged(f'state is not what was saved: {error}') from error
  changed = [path for path in wanted if given.get(path) != wanted[path]]
  if changed:
    raise manifest.Damaged(f'{changed[0]} is not what was saved')
  return state


def _restore(leaves_dir, shapes, names):
  """Returns the tree of a folder; empty places need not be in both.

  Args:
    leaves_dir: folder.
    shapes: the tree, with shardings.
    names: see `names_in_step`; paths that are not in it are the same.
  """
  # Without the checkpointer around it, a failure of one process leaves the
  # others at no barrier.
  handler = ocp.StandardCheckpointHandler()
  if all(path == name for path, name in names.items()):
    # Fails if older versions had no place for what a run lacks.
    with contextlib.suppress(ValueError):
      return handler.restore(leaves_dir, args=ocp.args.StandardRestore(shapes))
  specs = {
    names.get(path, path): spec
    for path, spec in pytrees.flatten(shapes).items()
  }
  stored = handler.metadata(leaves_dir).tree
  stored = pytrees.map_with_path(lambda name, _: specs[name], stored)
  read = handler.restore(leaves_dir, args=ocp.args.StandardRestore(stored))
  leaves = pytrees.flatten(read)
  return pytrees.map_with_path(
    lambda path, _: leaves[names.get(path, path)], shapes
  )


def _leaves_dir(step_dir):
  return orbax_stores.path(step_dir / manifest.LEAVES)


@contextlib.contextmanager
def as_damage():
  """Turns whatever goes wrong in reading a step into Damaged."""
  try:
    yield
  except Exception as error:  # Of any kind: the bytes can be anything.
    raise manifest.Damaged(f'it cannot be read: {first_line(error)}') from error


@contextlib.contextmanager
def _together():
  """Damage found by one process is damage for all."""
  damage = None
  try:
    yield
  except manifest.Damaged as error:
    damage = error
  if jax.process_count() > 1:
    found = multihost_utils.process_allgather(np.array(damage is not None))
    if found.any() and damage is None:
      damage = manifest.Damaged('another process cannot read it')
  if damage:
    raise damage
