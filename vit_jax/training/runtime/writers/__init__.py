"""Where metrics go besides metrics.jsonl: a table of writers.

metrics.jsonl (see `metrics_file`) is always written, and is what a resumed run
and every other command read. A writer gets the same records. It is a context,
made by `WRITERS[name](run)` of a `Run`, with

    start(step, records)    begins with the step after `step`; of the records so
                            far, `records` are those that count
    write(record)           adds one, {'step', 'split', name: number or None}
    timings(step, values)   {name: number} of the steps up to `step`, if shown

and a function `check()` in its module, which raises UserError where it can't be
used here. What is lost between a checkpoint and a kill is written again: a
writer sees to it that nothing is there twice.
"""

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from vit_jax import errors
from vit_jax.training.runtime.writers import csv_file, tensorboard, wandb_run


class Run(NamedTuple):
  """What a writer is told of a run.

  Attributes:
    folder: `pathlib.Path` on a disk to write to; for a run in a store, what is
      written there is copied to it.
    workdir: of the run, as the user knows it.
    config: {field: value} of its configuration.
    say: takes a line for the user about what has happened.
  """

  folder: pathlib.Path
  workdir: os.PathLike
  config: dict
  say: Callable


class Writer(NamedTuple):
  """A row of the table.

  Attributes:
    make: returns the writer of a `Run`.
    check: raises UserError where it can't be used.
    continued: names of files in the run's folder that a resumed run needs.
  """

  make: Callable
  check: Callable = lambda: None
  continued: tuple = ()


JSONL = 'jsonl'  # Of `metrics_file`; it may be listed, and is always written.
WRITERS = {
  'tensorboard': Writer(tensorboard.TensorBoard),
  'csv': Writer(csv_file.CsvFile),
  'wandb': Writer(
    wandb_run.WandbRun, wandb_run.check, continued=(wandb_run.FILE,)
  ),
}


def check(names):
  """Finds what is wrong with `run.writers`, before anything is started.

  Raises:
    UserError: a name is unknown, comes twice, or needs a library that is not
      installed.
  """
  for name in names:
    chosen = errors.choose(
      'run.writers', name, {JSONL: Writer(None), **WRITERS}
    )
    chosen.check()
  if len(set(names)) < len(names):
    raise errors.UserError(f'run.writers={names} has a name twice.')


def build(names, run):
  """Returns the writers of a list of names, but for metrics.jsonl."""
  return [WRITERS[name].make(run) for name in names if name != JSONL]


def continued(names):
  """Returns the names of files that a resumed run continues."""
  return [
    file for name in names if name != JSONL for file in WRITERS[name].continued
  ]
