"""`vit_jax prepare`: data sets downloaded and prepared, or how to get them."""

import os

from vit_jax import errors
from vit_jax.data import datasets
from vit_jax.data.datasets import vtab
from vit_jax.data.sources import tfds_builders


def run(dataset, data_dir=None):
  """Downloads and prepares a data set, unless it is there.

  Args:
    dataset: a name in `datasets.DATASETS` or TFDS, or a task of VTAB.
    data_dir: folder of data sets; None: TFDS's own.

  Returns:
    Text: where the data set is, its splits, and how to train on it.

  Raises:
    UserError: there is no such data set, or it can't be prepared; says what to
      download by hand, and where to put it.
  """
  known = datasets.DATASETS.get(dataset)
  if known and known.source != 'tfds':
    raise errors.UserError(_manual(known, data_dir))
  builder = tfds_builders.builder(_builder_name(dataset, known), data_dir)
  try:
    tfds_builders.prepare(builder)
  except errors.UserError as error:
    if known and known.manual:
      raise errors.UserError(
        f'{_manual(known, data_dir)}\n\n{error}'
      ) from error
    raise
  return _summary(builder, dataset, known)


def _builder_name(dataset, known):
  of_vtab = vtab.find(dataset)
  if of_vtab:
    return of_vtab.task.builder
  return known.dataset if known else dataset


def _manual(known, data_dir):
  manual_dir = tfds_builders.manual_dir(data_dir)
  root = os.path.dirname(os.path.dirname(manual_dir))
  return known.manual.format(
    manual_dir=manual_dir, data_dir=os.path.join(root, known.dataset)
  )


def _summary(builder, dataset, known):
  format = tfds_builders.file_format(builder)
  name = known.dataset if known else dataset
  lines = [
    f'{builder.info.full_name} is in {os.fspath(builder.data_path)} '
    f'({format.value}).',
    *(
      f'  {split:16}{info.num_examples:>12,} examples'
      for split, info in builder.info.splits.items()
    ),
    f'Train on it with --config.data.dataset={name}',
  ]
  return '\n'.join(lines)
