"""`vit_jax reproduce`: reproduces the tables and figures of the papers."""

import fnmatch

from vit_jax import errors, files
from vit_jax.paper import measure, report
from vit_jax.paper import targets as known

ALL = 'all'


def run(
  target,
  dry_run=False,
  workdir=None,
  cells='*',
  overrides=(),
  images=None,
  say=print,
):
  """Reproduces one target, or all, and reports how they compare.

  Args:
    target: a name in `targets.TARGETS`, or 'all'.
    dry_run: only report what it would need.
    workdir: folder of runs, plots and results; None: only what needs neither
      data nor weights is computed.
    cells: pattern of 'row, column', e.g. 'I21k *, B/16': others are left out.
    overrides: of fields of every fine-tuning, see `recipes.load`.
    images: input of the figures: an image, a folder or an .npy file.
    say: takes a text, for each target.

  Raises:
    UserError: there is no such target, or no such cell in it.
    Preempted: a signal has stopped the current run; it is saved.
  """
  chosen, overrides = _chosen(target), tuple(overrides)
  if dry_run and target == ALL:
    say(report.overview(chosen))
    return
  if dry_run:
    data_dir = measure.data_dir(overrides)
    say(report.plan(target, chosen[target], data_dir))
    return
  if workdir is not None:
    workdir = files.path(workdir).expanduser().absolute()
  context = measure.Context(workdir, overrides, images)
  found = False
  for name, one in chosen.items():
    picked = {
      cell: method
      for cell, method in one.methods.items()
      if fnmatch.fnmatchcase(', '.join(filter(None, cell)), cells)
    }
    if not picked:
      continue
    found = True
    results = {
      cell: measure.measure(method, context) for cell, method in picked.items()
    }
    say(report.result(name, one, results))
  if not found:
    raise errors.UserError(
      f'--cells={cells} matches none of {target}; a cell is ROW, COLUMN, such '
      f'as {_example(chosen)!r}.'
    )


def _chosen(target):
  if target == ALL:
    return known.TARGETS
  names = {**known.TARGETS, ALL: None}
  return {target: errors.choose('What to reproduce', target, names)}


def _example(chosen):
  cell = next(iter(next(iter(chosen.values())).methods))
  return ', '.join(filter(None, cell))
