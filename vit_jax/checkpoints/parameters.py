"""The parameters of a run or of an exported model, and nothing else of it.

Of a run they are those that it evaluates and publishes: the average of its
parameters, or, without one, themselves. The state of the optimizer is not read.
A run may save while it is read: if it has removed the step, the newest one is
looked up again.
"""

import contextlib
import functools
import json
import math
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from vit_jax import errors, files, pytrees
from vit_jax.checkpoints import (
  best,
  digests,
  manager,
  manifest,
  orbax_stores,
  step_folder,
  stored_arrays,
)

FOLDER = 'params'
DIGESTS = 'params.json'  # Beside it: {path: kind and digest}.
BEST = 'best'  # /data/run:best is the best step of a run.
_AVERAGE, _PARAMS = 'ema/', 'params/'  # In the state of a run.
# So much is read at once, or a single array: the larger of the two.
_FRACTION, _BYTES = 1 / 16, 8 << 20
_WHOLE, _DAMAGED, _REMOVED = range(3)


def save(workdir, params):
  """Writes parameters to workdir/params, whole or not at all.

  `orbax.checkpoint.StandardCheckpointer().restore` reads them. Beside them is a
  digest of each, which `Exported.load` compares.

  Args:
    workdir: folder; what it has of the name is replaced.
    params: tree of arrays.

  Raises:
    UserError: it can't be written.
  """
  path = files.path(workdir).absolute() / FOLDER
  try:
    orbax_stores.save(path, params)
    files.write_text(path.with_name(DIGESTS), _digests(params) + '\n')
  except OSError as error:
    raise errors.UserError(
      f'{path} can not be written: {error.strerror or error}.'
    ) from error


def _digests(params):
  arrays = pytrees.flatten(jax.device_get(params))
  kinds = digests.kinds(arrays)
  return json.dumps(
    {
      path: {'kind': kinds[path], 'digest': digests.of_array(array)}
      for path, array in arrays.items()
    },
    indent=1,
  )


def find(workdir, of_best=False):
  """Returns the parameters of a folder: an `Exported`, an `OfRun`, or None.

  None: there are neither exported parameters nor a checkpoint.

  Args:
    workdir: folder.
    of_best: whether those of the best step are meant, not of the newest.

  Raises:
    UserError: no step is marked as the best.
  """
  workdir = files.path(workdir).absolute()
  if of_best and best.read(workdir / 'checkpoints') is None:
    raise errors.UserError(
      f'{workdir} has no best checkpoint: a run with run.keep_best=true marks '
      f'one at each evaluation. Its newest is {workdir}, without :{BEST}.'
    )
  if (workdir / FOLDER).is_dir() and not of_best:
    return Exported(workdir / FOLDER)
  run = OfRun(workdir / 'checkpoints', of_best=of_best)
  return run if run.steps() else None


class Exported:
  """Parameters alone in a folder, as `save` writes them.

  Args:
    folder: absolute path.
  """

  def __init__(self, folder):
    self._folder = folder

  def shapes(self):
    """Returns {path: shape and dtype}, stacked layers one by one.

    Raises:
      UserError: the folder can't be read.
    """
    return _layer_by_layer(self._stored())

  def load(self, paths, take):
    """Returns what `OfRun.load` returns, with None for the step.

    Raises:
      UserError: the folder can't be read, or an array is not what was saved.
    """
    saved, stored = self._saved(), self._stored()
    if saved is not None and stored.keys() != saved[0].keys():
      lines = '\n'.join(f'  {line}' for line in pytrees.diff(stored, saved[0]))
      raise errors.UserError(
        f'{self._folder} does not hold the arrays that were saved:\n{lines}\n'
        'Copy it anew, or use an older one.'
      )

    def read(names):
      with self._as_user_error():
        arrays = _read(self._folder, names)
      changed = [] if saved is None else _changed(arrays, *saved)
      if changed:
        raise errors.UserError(
          f'{changed[0]} in {self._folder} is not what was saved; copy it '
          'anew, or use an older one.'
        )
      return arrays

    return _take_all(stored, paths, take, read), None

  def _stored(self):
    with self._as_user_error():
      return stored_arrays.shapes(self._folder)

  def _saved(self):
    """Returns {path: kind} and {path: digest}; None: of an older version."""
    path = self._folder.with_name(DIGESTS)
    if not path.exists():
      return None
    try:
      rows = files.read_json(path)
      return [{p: rows[p][n] for p in rows} for n in ('kind', 'digest')]
    except (OSError, ValueError, TypeError, KeyError) as error:
      raise errors.UserError(
        f'{path} does not tell what was saved ({error}); copy it anew.'
      ) from error

  @contextlib.contextmanager
  def _as_user_error(self):
    """Turns whatever damaged bytes make orbax raise into a UserError."""
    try:
      yield
    except Exception as error:
      raise errors.UserError(
        f'{self._folder} holds no parameters that orbax could read '
        f'({type(error).__name__}); copy it anew, or use an older one.'
      ) from error


class OfRun:
  """Those of the newest checkpoint of a run that is whole, at any time.

  Nothing is written to its folder. Damaged steps are told once.

  Args:
    directory: absolute path of the run's checkpoints.
    say: takes a line for the user about what has happened.
    of_best: whether only the best step counts.
  """

  def __init__(self, directory, say=None, of_best=False):
    self._directory = files.path(directory)
    self._of_best = of_best
    self._manager = manager.CheckpointManager(directory, 1, read_only=True)
    self._say = say or functools.partial(print, file=sys.stderr)
    self._problems = {}  # By step.
    self._shapes = None

  def steps(self):
    """Returns the steps of the run, whole or not, the newest first."""
    steps = self._manager.folders()
    if not self._of_best:
      return steps
    found = best.read(self._directory)  # It may be another one by now.
    return [step for step in steps if found and step == found.step]

  def shapes(self):
    """Returns {path: shape and dtype}, stacked layers one by one.

    Raises:
      UserError: no checkpoint is whole.
    """
    if self._shapes is None:
      newest, _ = self._of_newest(_Step, together=False)
      self._shapes = _layer_by_layer(newest.shapes)
    return self._shapes

  def load(self, paths, take):
    """Reads parameters, checks each and hands it on before the next.

    All processes of a run must call it; they read the same step.

    Args:
      paths: those to be read, of single layers, as in `shapes`, or of stacked
        ones.
      take: (path, NumPy array) -> what becomes of it, such as the array on its
        devices. If a step turns out to be damaged or is removed, it starts over
        with another one.

    Returns:
      {path: what became of it}, and the step.

    Raises:
      UserError: no checkpoint is whole.
    """

    def read(step_dir):
      step = _Step(step_dir)
      if _layer_by_layer(step.shapes) != self.shapes():
        raise manifest.Damaged('it is of another model than the newest')
      return _take_all(step.shapes, paths, take, step.read)

    return self._of_newest(read, together=True)

  def _of_newest(self, read, together):
    """Returns read(step_dir) of the newest step that is whole, and the step.

    It ends: each turn finds a step damaged, or removed for the first time.

    Args:
      read: raises Damaged.
      together: whether all processes of a run do this.
    """
    removed = set()
    while True:
      untried = (step for step in self.steps() if step not in self._problems)
      step = next(untried, None)
      if together:
        step = _of_first_process(step)
      if step is None:
        raise self._no_checkpoint()
      step_dir = self._directory / str(step)
      outcome, problem = _WHOLE, None
      try:
        found = read(step_dir)
      except manifest.Damaged as error:
        is_removed = step not in removed and not step_dir.exists()
        outcome, problem = _REMOVED if is_removed else _DAMAGED, error
      if together:
        outcome = _worst_of_all_processes(outcome)
      if outcome == _WHOLE:
        return found, step
      if outcome == _REMOVED:
        removed.add(step)
      else:
        problem = problem or 'another process cannot read it'
        self._problems[step] = problem
        self._say(errors.shown(f'checkpoint {step_dir} is not used: {problem}'))

  def _no_checkpoint(self):
    if not self._problems:
      return errors.UserError(f'{self._directory} has no checkpoint.')
    listed = '\n'.join(f'  {n}: {each}' for n, each in self._problems.items())
    return errors.UserError(
      f'No checkpoint in {self._directory} can be used:\n{listed}\n'
      'Put back an undamaged copy.'
    )


class _Step:
  """The parameters in the folder of a step.

  Attributes:
    shapes: {path: shape and dtype}.

  Raises:
    Damaged: names what is not as it was saved.
  """

  def __init__(self, step_dir):
    self._leaves = step_dir / manifest.LEAVES
    saved = step_folder.check(step_dir, data=False)
    with step_folder.as_damage():
      names = step_folder.names_in_step(saved['kinds'])
      averages = any(path.startswith(_AVERAGE) for path in names)
      prefix = _AVERAGE if averages else _PARAMS
      self._names = {
        path.removeprefix(prefix): name
        for path, name in names.items()
        if path.startswith(prefix)
      }
      self._kinds, self._digests = (
        {path: saved[table][name] for path, name in self._names.items()}
        for table in ('kinds', 'digests')
      )
      self.shapes = {
        path: digests.shape_of(kind) for path, kind in self._kinds.items()
      }
      stored_arrays.shapes(
        self._leaves, {self._names[path]: s for path, s in self.shapes.items()}
      )
    if not self.shapes:
      raise manifest.Damaged('it holds no parameters')

  def read(self, paths):
    """Returns {path: NumPy array}, each what was saved."""
    with step_folder.as_damage():
      by_name = _read(self._leaves, [self._names[path] for path in paths])
      arrays = {path: by_name[self._names[path]] for path in paths}
      changed = _changed(arrays, self._kinds, self._digests)
    if changed:
      name = self._names[changed[0]]
      raise manifest.Damaged(f'{name} is not what was saved')
    return arrays


def _changed(arrays, kinds, saved):
  """Returns the paths of arrays that are not of their kind and digest."""
  return [
    path
    for path, kind in digests.kinds(arrays).items()
    if kind != kinds.get(path)
    or digests.of_array(arrays[path]) != saved.get(path)
  ]


def _take_all(shapes, paths, take, read):
  """Returns {path: what `take` made of it}, stacking layers or unstacking them.

  The largest are read first, while there is room.

  Args:
    shapes: {path: shape and dtype} of what is stored.
    paths: of what is wanted.
    take: see `OfRun.load`.
    read: maps stored paths to {path: NumPy array}.
  """
  paths = set(paths)
  convert, units = _units(shapes, paths)
  sizes = [sum(map(_num_bytes, unit.values())) for unit in units]
  room = max(_FRACTION * sum(sizes), _BYTES)
  taken, group, used = {}, [], 0

  def flush():
    arrays = read([path for unit in group for path in unit])
    for unit in group:
      own = {path: arrays.pop(path) for path in unit}
      for path, array in _converted(convert, own).items():
        if path in paths:
          taken[path] = take(path, array)

  for number in sorted(range(len(units)), key=lambda n: -sizes[n]):
    if group and used + sizes[number] > room:
      flush()
      group, used = [], 0
    group.append(units[number])
    used += sizes[number]
  if group:
    flush()
  return taken


def _units(shapes, paths):
  """Returns how to convert, and what must be together for it, [{path: shape}].

  Only what gives one of `paths` is among it.
  """
  tree = pytrees.unflatten(shapes)
  wants_stacked = any(pytrees.BLOCKS in path.split('/') for path in paths)
  units = [{path: leaf} for path, leaf in shapes.items()]
  if pytrees.are_stacked(tree) == wants_stacked:
    convert = _unchanged
  elif not wants_stacked:
    convert = pytrees.unstack
  else:
    convert = pytrees.stack
    units = [
      _converted(pytrees.unstack, {path: leaf})
      for path, leaf in _converted(convert, shapes).items()
    ]
  return convert, [
    unit for unit in units if not paths.isdisjoint(_converted(convert, unit))
  ]


def _unchanged(tree):
  return tree


def _converted(convert, flat):
  return pytrees.flatten(convert(pytrees.unflatten(flat)))


def _layer_by_layer(shapes):
  return _converted(pytrees.unstack, shapes)


def _num_bytes(leaf):
  return leaf.dtype.itemsize * math.prod(leaf.shape)


def _read(folder, names):
  """Returns {path: NumPy array} of what orbax has in a folder."""
  wanted = pytrees.unflatten(dict.fromkeys(names, 0))
  arrays = jax.tree.map(
    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
  )
  tree = ocp.PyTreeCheckpointHandler().restore(
    orbax_stores.path(folder),
    args=ocp.args.PyTreeRestore(
      item=wanted, restore_args=arrays, partial_restore=True
    ),
  )
  return pytrees.flatten(tree)


def _of_first_process(step):
  if jax.process_count() == 1:
    return step
  step = np.int32(-1 if step is None else step)
  step = int(multihost_utils.broadcast_one_to_all(step))
  return None if step < 0 else step


def _worst_of_all_processes(outcome):
  if jax.process_count() == 1:
    return outcome
  return int(multihost_utils.process_allgather(np.int32(outcome)).max())
