"""`vit_jax reproduce`: reproduces the tables and figures of the papers."""

import dataclasses
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
    images: input of the figures: an image, a folder or an .npy file, or several
      images and folders in a list.
    say: takes a text, for each target.

  Returns:
    Whether nothing is missing of what was asked for. Of numbers that can't be
    reproduced at all, nothing is.

  Raises:
    UserError: there is no such target, or no such cell in it.
    Preempted: a signal has stopped the current run; it is saved.
  """
  chosen, overrides = _picked(target, cells), tuple(overrides)
  if dry_run and target == ALL:
    say(report.overview(chosen, overrides))
    return True
  if dry_run:
    data_dir = measure.data_dir(overrides)
    say(report.plan(target, chosen[target], overrides, data_dir))
    return True
  if workdir is not None:
    workdir = files.path(workdir).expanduser().absolute()
  context = measure.Context(workdir, overrides, images)
  is_whole = True
  for name, one in chosen.items():
    results = {
      cell: measure.measure(method, context)
      for cell, method in one.methods.items()
    }
    say(report.result(name, one, results))
    is_whole &= not any(found.is_missing for found in results.values())
  return is_whole


def _chosen(target):
  if target == ALL:
    return known.TARGETS
  names = {**known.TARGETS, ALL: None}
  return {target: errors.choose('What to reproduce', target, names)}


def _picked(target, cells):
  """Returns {name: `targets.Target`} with the cells that match, if any do."""
  chosen, picked = _chosen(target), {}
  for name, one in chosen.items():
    methods = {
      cell: method
      for cell, method in one.methods.items()
      if fnmatch.fnmatchcase(_text(cell), cells)
    }
    if methods:
      picked[name] = dataclasses.replace(one, methods=methods)
  if not picked:
    known = {_text(cell) for one in chosen.values() for cell in one.methods}
    raise errors.UserError(
      f'--cells={cells} matches none of {target}; a cell is ROW, COLUMN, such '
      f'as {_text(next(iter(next(iter(chosen.values())).methods)))!r}. '
      f'{errors.nearest(cells, known)}'
    )
  return picked


def _text(cell):
  return ', '.join(filter(None, cell))
