"""Suites: data sets that papers report on together, and their means."""

from typing import NamedTuple

from vit_jax.data.datasets import vtab


class Row(NamedTuple):
  """A row of a table of results.

  Attributes:
    name: as papers write it.
    datasets: names as recipes in configs/finetune take them; for several, the
      row is the mean.
    metric: what is reported for each.
  """

  name: str
  datasets: tuple[str, ...]
  metric: str = 'accuracy'


def _vtab_mean(suite):
  return Row('VTAB (19 tasks)', vtab.names(suite))


def _vtab(suite):
  """Returns a row for each task, for each group, and for all."""
  return (
    *(Row(name, vtab.names(suite, [name])) for name in vtab.TASKS),
    *(
      Row(f'{group} (mean)', vtab.names(suite, tasks))
      for group, tasks in vtab.GROUPS.items()
    ),
    _vtab_mean(suite),
  )


# name: rows.
SUITES = {
  'vtab': _vtab('vtab'),  # ViT paper, table 9, and the means of figure 2.
  'vtab_full': _vtab('vtab_full'),  # AugReg, table 5.
  # ViT paper, table 2: seven numbers, of 24 data sets.
  'transfer': (
    Row('ImageNet', ('imagenet2012',)),
    Row('ImageNet ReaL', ('imagenet2012',), 'real_accuracy'),
    Row('CIFAR-10', ('cifar10',)),
    Row('CIFAR-100', ('cifar100',)),
    Row('Oxford-IIIT Pets', ('oxford_iiit_pet',)),
    Row('Oxford Flowers-102', ('oxford_flowers102',)),
    _vtab_mean('vtab'),
  ),
}


def datasets(rows):
  """Returns the data sets of some rows, each once, in their order."""
  return tuple(dict.fromkeys(name for row in rows for name in row.datasets))
