import pytest

from vit_jax.data import datasets
from vit_jax.data.datasets import suites, vtab


@pytest.mark.parametrize('suite', vtab.VERSIONS)
def test_vtab_has_its_tasks_its_groups_and_their_mean(suite):
  rows = suites.SUITES[suite]
  assert len(rows) == 19 + 3 + 1
  names = tuple(f'{suite}/{name}' for name in vtab.TASKS)
  assert suites.datasets(rows) == names
  sizes = {row.name: len(row.datasets) for row in rows[19:]}
  assert sizes == {
    'natural (mean)': 7,
    'specialized (mean)': 4,
    'structured (mean)': 8,
    'VTAB (19 tasks)': 19,
  }


def test_transfer_has_the_seven_numbers_of_table_2():
  rows = suites.SUITES['transfer']
  assert len(rows) == 7
  names = suites.datasets(rows)
  assert len(names) == 5 + 19
  for name in names:
    assert name.startswith('vtab/') or name in datasets.DATASETS
  assert [row.name for row in rows if row.metric != 'accuracy'] == [
    'ImageNet ReaL'
  ]
