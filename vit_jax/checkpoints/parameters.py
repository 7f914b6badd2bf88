"""Parameters as orbax keeps them: alone in a folder, or in a run's checkpoint.

`save` writes what `orbax.checkpoint.StandardCheckpointer().restore` reads.
"""

import contextlib
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from vit_jax import errors, pytrees
from vit_jax.checkpoints import manager, manifest

FOLDER = 'params'
# Where the state of a run has what it publishes: the average of its parameters,
# or, without one, themselves.
_STATE = ('ema/', 'params/')


def save(workdir, params):
  """Writes parameters to workdir/params, whole or not at all.

  Args:
    workdir: folder; what it has of the name is replaced.
    params: tree of arrays.

  Raises:
    UserError: it can't be written.
  """
  path = pathlib.Path(workdir).absolute() / FOLDER
  try:
    with ocp.StandardCheckpointer() as checkpointer:
      checkpointer.save(path, params, force=True)
  except OSError as error:
    raise errors.UserError(
      f'{path} can not be written: {error.strerror or error}.'
    ) from error


def find(workdir):
  """Returns (folder, path of the parameters in it), or None: there are none.

  Of a run, that is its newest checkpoint that is whole.
  """
  workdir = pathlib.Path(workdir).absolute()
  if (workdir / FOLDER).is_dir():
    return workdir / FOLDER, ''
  directory = workdir / 'checkpoints'
  with manager.CheckpointManager(directory, 1, read_only=True) as saved:
    for step in saved.steps():
      try:
        manifest.check(directory / str(step))
      except manifest.Damaged as damage:
        print(f'step {step} of {workdir} is not used: {damage}')
        continue
      folder = directory / str(step) / 'state'
      paths = _stored(folder)
      for prefix in _STATE:
        if any(path.startswith(prefix) for path in paths):
          return folder, prefix
  return None


def shapes(place):
  """Returns {path: shape and dtype} of parameters, stacked layers one by one.

  Args:
    place: what `find` returned.

  Raises:
    UserError: the folder can't be read.
  """
  folder, prefix = place
  flat = {
    path.removeprefix(prefix): leaf
    for path, leaf in _stored(folder).items()
    if path.startswith(prefix)
  }
  return pytrees.flatten(pytrees.unstack(pytrees.unflatten(flat)))


def load(place):
  """Returns {path: NumPy array} as `shapes`, and reads nothing else.

  Args:
    place: what `find` returned.

  Raises:
    UserError: the folder can't be read.
  """
  folder, prefix = place
  stored = [path for path in _stored(folder) if path.startswith(prefix)]
  wanted = pytrees.unflatten(dict.fromkeys(stored, 0))
  arrays = jax.tree.map(
    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
  )
  with _damage_reported(folder):
    tree = ocp.PyTreeCheckpointHandler().restore(
      epath.Path(folder),
      args=ocp.args.PyTreeRestore(
        item=wanted, restore_args=arrays, partial_restore=True
      ),
    )
  flat = {
    path.removeprefix(prefix): array
    for path, array in pytrees.flatten(tree).items()
  }
  return pytrees.flatten(pytrees.unstack(pytrees.unflatten(flat)))


def _stored(folder):
  """Returns {path: shape and dtype} of all that a folder has."""
  with _damage_reported(folder):
    tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(folder)).tree
  return {
    path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    for path, leaf in pytrees.flatten(tree).items()
    if hasattr(leaf, 'shape')
  }


@contextlib.contextmanager
def _damage_reported(folder):
  """Turns whatever damaged bytes make orbax raise into a UserError."""
  try:
    yield
  except Exception as error:
    raise errors.UserError(
      f'{folder} holds no parameters that orbax could read '
      f'({type(error).__name__}); copy it anew, or use an older one.'
    ) from error
