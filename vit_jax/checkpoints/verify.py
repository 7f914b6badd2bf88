"""Every checkpoint of a run: is it complete, is it what was saved, why not."""

from vit_jax import errors, files
from vit_jax.checkpoints import best, manager, manifest, step_folder


def run(workdir):
  """Reads each checkpoint of the run in `workdir`; changes nothing.

  Returns:
    Lines of text, one per folder of checkpoints, the newest step first,
    and whether there is a checkpoint and all are good, the best one included.

  Raises:
    UserError: `workdir` has no checkpoints.
  """
  folder = files.path(workdir).absolute() / 'checkpoints'
  if not folder.is_dir():
    raise errors.UserError(
      f'{workdir} has no checkpoints; give the --workdir of a run.'
    )
  steps = manager.CheckpointManager(folder, keep=1, read_only=True).folders()
  told = {str(step): _tell(folder / str(step)) for step in steps}
  for path in sorted(folder.iterdir()):
    if path.name not in told and path.is_dir():
      told[path.name] = _LEFT_OVERS.get(path.suffix, 'cut short, ignored')
  marked = best.read(folder)
  if marked:
    name = str(marked.step)
    told[name] = f'{told.get(name, "missing")}, marked as the best'
  lines = [errors.shown(f'{name:>10}  {text}') for name, text in told.items()]
  good = [text for name, text in told.items() if name.isdecimal()]
  return lines, bool(good) and all(text.startswith(_GOOD) for text in good)


_GOOD = 'committed, verified'
_LEFT_OVERS = {
  '.damaged': 'damaged, set aside by a run that fell back to an older one',
  '.removed': 'being removed',
}


def _tell(step_dir):
  """Returns what is to be said of a step."""
  committed = manifest.is_committed(step_dir)
  state = 'committed' if committed else 'not committed (no manifest)'
  try:
    step_folder.verify(step_dir)
  except manifest.Damaged as damage:
    return f'{state}, NOT verified: {damage}'
  return f'{state}, verified'
