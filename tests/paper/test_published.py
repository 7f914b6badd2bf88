"""What was copied from the papers agrees with itself."""

import statistics

import pytest

from vit_jax.data.datasets import vtab
from vit_jax.paper import augreg_cells, published, vit_tables


def test_a_table_is_read_as_it_looks():
  table = published.table(
    'Title',
    """
    Model | One | Two
    ViT-B | 86M | -
    ViT-L | 2.5k | 88.55±0.04
    """,
  )
  assert table.columns == ('One', 'Two')
  assert table.rows == ('ViT-B', 'ViT-L')
  assert list(table.cells) == [
    ('ViT-B', 'One'),
    ('ViT-L', 'One'),
    ('ViT-L', 'Two'),
  ]
  assert table.cells['ViT-B', 'One'].value == 86_000_000
  assert table.cells['ViT-L', 'One'].value == 2500
  assert table.cells['ViT-L', 'Two'] == published.Number(
    '88.55±0.04', 88.55, 0.04
  )


@pytest.mark.parametrize(
  'text, decimals', [('86M', 0), ('2.5k', 1), ('88.55±0.04', 2), ('0.64', 2)]
)
def test_decimals_are_those_of_the_mean(text, decimals):
  assert published.number(text).decimals == decimals


def column(table, name, rows):
  return [table.cells[row, name].value for row in rows]


def test_means_of_table_9_are_means_and_those_of_table_2():
  table = vit_tables.TABLE_9
  *tasks, last = table.rows
  assert (len(tasks), last) == (19, 'Mean')
  for name in table.columns:
    mean = statistics.fmean(column(table, name, tasks))
    assert mean == pytest.approx(table.cells['Mean', name].value, abs=0.051)
    printed = vit_tables.TABLE_2.cells['VTAB (19 tasks)', name].value
    assert mean == pytest.approx(printed, abs=0.051)


def test_averages_of_table_7_are_averages():
  *rows, last = vit_tables.TABLE_7.rows
  for name in vit_tables.TABLE_7.columns:
    mean = statistics.fmean(column(vit_tables.TABLE_7, name, rows))
    printed = vit_tables.TABLE_7.cells[last, name].value
    assert mean == pytest.approx(printed, abs=0.0051)


def test_the_same_runs_have_the_same_numbers_in_tables_5_6_and_7():
  five, six, seven = (
    table.cells
    for table in (vit_tables.TABLE_5, vit_tables.TABLE_6, vit_tables.TABLE_7)
  )
  for name in 'CIFAR-10', 'CIFAR-100', 'ImageNet', 'Pets', 'Flowers':
    for model in 'B/16', 'B/32', 'L/32':
      assert five[f'JFT {name}', model] == six[f'{model}, 7', name]
    for model in 'R50x1', 'R152x2':
      assert seven[name, f'{model} Adam'] == six[f'{model}, 7', name]


@pytest.mark.parametrize('name', augreg_cells.TABLE_5.columns)
def test_means_of_augreg_are_those_of_its_groups(name):
  table = augreg_cells.TABLE_5
  tasks = [row for row in table.rows if not row.endswith(' mean')]
  task_of = dict(zip(vtab.TASKS, tasks))
  for group, members in vtab.GROUPS.items():
    rows = [task_of[task] for task in members]
    printed = table.cells[f'{group.capitalize()} mean', name].value
    mean = statistics.fmean(column(table, name, rows))
    # Both are rounded.
    assert mean == pytest.approx(printed, abs=0.1)


def test_fine_tuning_at_384_pixels_is_better_than_at_224():
  cells = augreg_cells.TABLE_3.cells
  for row in augreg_cells.TABLE_3.rows:
    for data in 'i1k 300', 'i21k 30', 'i21k 300':
      assert cells[row, f'384 {data}'].value > cells[row, f'224 {data}'].value
    assert cells[row, '384 img/s'].value < cells[row, '224 img/s'].value
