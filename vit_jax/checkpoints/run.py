"""Saving and restoring the state of a run, by orbax.

A run's checkpoints are in workdir/checkpoints/<step>/; a step counts once orbax
has committed it, so a save that was cut short is never read.
"""

import orbax.checkpoint as ocp

from vit_jax import errors


class Checkpoints:
  """The checkpoints of one run; writes in the background.

  A context manager: leaving it waits for the last write.
  """

  def __init__(self, directory, keep):
    """Opens (or creates) `directory`; of its steps the newest `keep` stay."""
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, cleanup_tmp_directories=True
    )
    self._manager = ocp.CheckpointManager(directory, options=options)

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self._manager.close()

  def save(self, step, state):
    """Starts to write `state` as `step`, unless that step is there."""
    self._manager.check_for_errors()
    if step != self.latest_step():
      self._manager.save(step, args=ocp.args.StandardSave(state), force=True)

  def latest_step(self):
    """Returns the newest step, or None."""
    return self._manager.latest_step()

  def restore(self, abstract_state):
    """Returns the newest state, each leaf in the given dtype and sharding.

    Args:
      abstract_state: a tree of `jax.ShapeDtypeStruct` with shardings.

    Raises:
      UserError: there is none, or it doesn't fit the given tree.
    """
    step = self.latest_step()
    if step is None:
      raise errors.UserError(f'{self._manager.directory} has no checkpoint.')
    try:
      return self._manager.restore(
        step, args=ocp.args.StandardRestore(abstract_state)
      )
    except (ValueError, KeyError) as error:
      raise errors.UserError(
        f'{self._manager.directory / str(step)} does not fit this model and '
        f'optimizer: {error}'
      ) from error
