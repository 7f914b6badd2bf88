"""The data of a run: training and evaluation split, checked before it starts.

A resumed run has the examples of its first step (see `listing`).
"""

import contextlib

import jax

from vit_jax import errors
from vit_jax.checkpoints import manager
from vit_jax.data import bad_examples, sources
from vit_jax.data.sources import checks, listing
from vit_jax.training.runtime import process_log

_MAX_SHOWN = 5  # Files that an error names.


class Splits:
  """The two splits of a run.

  Attributes:
    train, eval: sources.
    facts: {name: value}, what identifies the training data; a resumed run must
      have the same.

  Args:
    config: a valid configuration.
    workdir: folder of the run.
    given: the sources of both splits, where `data.source` is 'python'.

  Raises:
    UserError: a split isn't there, has no label or too many files that can't be
      opened, or the data have changed since the run was started.
  """

  def __init__(self, config, workdir, given=None):
    self._path = workdir / listing.FILE
    data = config.data
    self._names = data.train_split, data.eval_split
    folder = workdir / 'checkpoints'
    self._is_new = manager.CheckpointManager(
      folder, 1, read_only=True
    ).is_empty()
    stored = {} if self._is_new else listing.load(self._path)
    if given:
      self.train, self.eval = (sources.with_classes(data, s) for s in given)
    else:
      self.train, self.eval = (
        sources.build(data, split, complete=not stored) for split in self._names
      )
    fingerprint = None
    if not self._is_new:
      fingerprint = self._restore(data, stored, bad_examples.listed(workdir))
    self.facts = {
      'num_examples': len(self.train),
      'fingerprint': fingerprint or sources.fingerprint(self.train),
    }
    if config.objective.name == 'classification':
      _check_labels('train', data.train_split, self.train)
      _check_labels('eval', data.eval_split, self.eval)
    if jax.process_index() == 0:  # The others wait for it.
      _check_files(data, self.eval)

  def describe(self):
    """Returns lines that tell what there is in each."""
    return sources.describe(self._names, (self.train, self.eval))

  def remember(self):
    """Stores which examples there are, unless that is stored already."""
    is_first = self._is_new or not self._path.exists()
    if is_first and jax.process_index() == 0:
      listing.save(self._path, {'train': self.train, 'eval': self.eval})

  def _restore(self, data, stored, bad):
    """Puts back the examples of the first step; returns their fingerprint."""
    num_gone = sum(
      listing.num_gone(source, stored, split)
      for split, source in (('train', self.train), ('eval', self.eval))
    )
    if num_gone:
      _say(f'image files gone since the first step, left out: {num_gone}')
    self.train = listing.restore(
      self.train, stored, 'train', bad, data.max_bad_fraction, num_gone
    )
    with contextlib.suppress(errors.UserError):  # It may be another one.
      self.eval = listing.restore(self.eval, stored, 'eval', None, 1, num_gone)
    return listing.fingerprint(self.train, stored, 'train')


def _check_labels(kind, split, source):
  if not checks.has_labels(source):
    raise errors.UserError(
      f'data.{kind}_split={split} has no labels to '
      f'{"learn from" if kind == "train" else "evaluate on"}; give a split '
      'that has some, or train without labels by '
      '--config.objective.name=masked_patches.'
    )


def _check_files(data, source):
  problems, num_checked = checks.unreadable(source)
  if num_checked < len(source) and num_checked:
    _say(
      f'looked at the headers of {num_checked:,} of the {len(source):,} files '
      f'of data.eval_split={data.eval_split}'
    )
  if len(problems) > data.max_bad_fraction * num_checked:
    shown = '\n'.join(f'  {problem}' for _, problem in problems[:_MAX_SHOWN])
    more = len(problems) - _MAX_SHOWN
    raise errors.UserError(
      f'{len(problems)} of {num_checked:,} images of data.eval_split='
      f'{data.eval_split} can not be read, more than data.max_bad_fraction='
      f'{data.max_bad_fraction:g} allows:\n{shown}\n'
      + (f'  and {more:,} more\n' if more > 0 else '')
      + 'Mend or remove these files, or allow more by '
      '--config.data.max_bad_fraction.'
    )


def _say(line):
  log = process_log.CURRENT
  if jax.process_index() == 0:
    log.say(line)
  else:
    log.write(line)
