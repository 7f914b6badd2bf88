"""Every table and figure, and how each of its numbers is reproduced."""

import dataclasses
import statistics

from vit_jax.data.datasets import vtab
from vit_jax.paper import (
  augreg_cells,
  cells,
  methods,
  published,
  vit_tables,
)


@dataclasses.dataclass(frozen=True)
class Target:
  """What `vit_jax reproduce` takes.

  Attributes:
    title: what it shows.
    methods: {(row, column): method}, of a class of `methods` each.
    table: what is printed, a `published.Table`; None: a figure.
    note: caveats when comparing, or ''.
    notes: {(row, column): what to know of a number when comparing}.
  """

  title: str
  methods: dict
  table: published.Table | None = None
  note: str = ''
  notes: dict = dataclasses.field(default_factory=dict)


def _of_table(table, method, note='', notes=None):
  routes = {cell: method(*cell) for cell in table.cells}
  return Target(table.title, routes, table, note, notes or {})


def _of_figure(title, **routes):
  """Returns the `Target` of a figure with the named parts."""
  named = {
    (part.replace('_', ' '), ''): method for part, method in routes.items()
  }
  return Target(title, named)


def _group_means():
  """Returns the table behind the bars of figure 2: means of table 9."""
  task_of = dict(zip(vtab.TASKS, vit_tables.TABLE_9.rows))
  printed = vit_tables.TABLE_9.cells
  means = {
    (group.capitalize(), column): statistics.fmean(
      printed[task_of[task], column].value for task in tasks
    )
    for group, tasks in vtab.GROUPS.items()
    for column in vit_tables.TABLE_9.columns
  }
  return published.Table(
    'VTAB by groups of tasks; means of table 9',
    vit_tables.TABLE_9.columns,
    {cell: published.number(f'{mean:.1f}') for cell, mean in means.items()},
  )


_ROLLOUT = methods.Drawn('rollout', 'imagenet21k/ViT-L_16', images=1)

_B_32 = 'augreg/B_32-i21k-300ep-lr_0.001-aug_'
_PLAIN = '-do_0.0-sd_0.0'

VIT = {
  'table1': _of_table(
    vit_tables.TABLE_1,
    cells.table_1,
    'Parameters are counted at 16 pixels per patch (H: 14) with a head of '
    "1,000 classes. The paper's 307M for L is what L/32 has.",
  ),
  'table2': _of_table(
    vit_tables.TABLE_2,
    cells.table_2,
    'Core-days are those of the matrix products at 40 % of the peak of a '
    'TPUv3 core, 61.5 TFLOP/s; the paper states no utilisation.',
  ),
  'table3': _of_table(
    vit_tables.TABLE_3,
    cells.table_3,
    'Taken from the recipes. Of two printed numbers of epochs, the recipe has '
    'one and a knob for the other.',
  ),
  'table4': _of_table(
    vit_tables.TABLE_4, cells.table_4, 'Taken from the recipe.'
  ),
  'table5': _of_table(
    vit_tables.TABLE_5,
    cells.table_5,
    'ImageNet from ImageNet-21k is measured with the released fine-tuned '
    'weights, where there are any.',
  ),
  'table6': _of_table(
    vit_tables.TABLE_6,
    cells.table_6,
    'B/32 would be 55 without its class token.',
    {
      ('R50+L/16, 7', 'exaFLOPs'): 'a misprint of the paper: half of the 1668 '
      'that it prints for twice the epochs is 834'
    },
  ),
  'table7': _of_table(vit_tables.TABLE_7, cells.table_7),
  'table8': _of_table(vit_tables.TABLE_8, cells.table_8),
  'table9': _of_table(vit_tables.TABLE_9, cells.table_9),
  'figure1': _of_figure(
    'The model', model=methods.Quoted('a drawing (vit_jax/models/vit.py)')
  ),
  'figure2': _of_table(_group_means(), cells.figure_2),
  'figure3': _of_figure(
    'ImageNet accuracy by size of the pre-training data',
    public_data=methods.Quoted('plotted from table5'),
    JFT=methods.Refused(methods.JFT, 'table5; make miniature'),
  ),
  'figure4': _of_figure(
    '5-shot accuracy by number of JFT images',
    JFT=methods.Refused(methods.JFT, 'make miniature'),
  ),
  'figure5': _of_figure(
    'Accuracy by compute of the pre-training',
    compute=methods.Quoted('plotted from table6'),
    accuracy=methods.Refused(methods.JFT, 'make miniature'),
  ),
  'figure6': _of_figure('Where the class token attends', rollout=_ROLLOUT),
  'figure7': _of_figure(
    'Filters, position embeddings, attention distance',
    left=methods.Drawn('filters', 'imagenet21k/ViT-L_32'),
    centre=methods.Drawn('position-similarity', 'imagenet21k/ViT-L_32'),
    right=methods.Drawn('attention-distance', 'imagenet21k/ViT-L_16', 128),
  ),
  'figure8': _of_figure(
    'Depth, width, MLP, patches: what to scale',
    JFT=methods.Refused(
      methods.JFT, 'vit_jax sweep of model.depth, .width, .mlp_dim'
    ),
  ),
  'figure9': _of_figure(
    'Class token or average, by learning rate',
    JFT=methods.Refused(methods.JFT, 'make miniature'),
  ),
  'figure10': _of_figure(
    'Position embeddings of other hyperparameters',
    **{
      setting: methods.Drawn('position-similarity', f'{_B_32}{setting}{_PLAIN}')
      for setting in ('none-wd_0.03', 'none-wd_0.1', 'strong2-wd_0.1')
    },
  ),
  'figure11': _of_figure(
    'Attention distance of a ViT and of a hybrid',
    left=methods.Drawn('attention-distance', 'imagenet21k/ViT-L_16', 128),
    right=methods.Drawn('attention-distance', 'imagenet21k/R50+ViT-L_32', 128),
  ),
  'figure12': _of_figure(
    'Images per second by resolution; largest batch',
    speed=methods.Benchmarked('vit_jax reproduce figure12'),
  ),
  'figure13': _of_figure(
    'Axial attention',
    JFT=methods.Refused(f'{methods.JFT}, and there are no axial models here'),
  ),
  'figure14': _of_figure('Where it attends, more images', rollout=_ROLLOUT),
}

AUGREG = {
  'augreg-table3': _of_table(
    augreg_cells.TABLE_3,
    augreg_cells.table_3,
    'For 30 epochs and for ImageNet alone, the file with the best validation '
    "accuracy in AugReg's index.csv; the paper may have chosen otherwise.",
  ),
  'augreg-table5': _of_table(
    augreg_cells.TABLE_5,
    augreg_cells.table_5,
    "At 384 px, with the ViT paper's learning rates: the recipe says what is "
    'unknown about this table.',
  ),
}

TARGETS = {**VIT, **AUGREG}
