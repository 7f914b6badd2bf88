"""How each cell of the ViT paper's tables is reproduced.

A function for each table maps the names of row and column to a method.
"""

import functools

from vit_jax.config import model_names, recipes
from vit_jax.data.datasets import vtab
from vit_jax.models import vit
from vit_jax.paper import costs, methods, vit_tables
from vit_jax.planning import compute_cost
from vit_jax.sharding import accelerators
from vit_jax.weights import catalog

TRANSFER = 'configs/finetune/transfer.py'
# Name of a data set in rows or columns: in recipes.
DATASETS = {
  'CIFAR-10': 'cifar10',
  'CIFAR-100': 'cifar100',
  'ImageNet': 'imagenet2012',
  'ImageNet ReaL': 'imagenet2012',
  'Pets': 'oxford_iiit_pet',
  'Flowers': 'oxford_flowers102',
}
# In the order of VTAB's tasks.
_TASKS = dict(zip(vit_tables.TABLE_9.rows, vtab.TASKS))


def table_1(row, column):
  size = vit.SIZES[row[-1]]
  patch = 14 if row == 'ViT-H' else 16
  values = {
    'Layers': lambda: size.depth,
    'Width': lambda: size.width,
    'MLP size': lambda: size.mlp_dim,
    'Heads': lambda: size.num_heads,
    'Parameters': lambda: costs.num_parameters(f'{row}/{patch}'),
  }
  return methods.Computed(values[column])


def table_2(row, column):
  if 'JFT' not in column and 'I21k' not in column:
    return methods.Quoted('of other papers')
  variant, data = column.split()
  if row == 'TPUv3-core-days':
    return methods.Computed(functools.partial(_core_days, variant, data))
  if data == 'JFT':
    return methods.Refused(methods.JFT, 'the column L/16 I21k')
  if row.startswith('VTAB'):
    return table_9('Mean', column)
  start = f'imagenet21k/{_file(variant)}'
  if row.startswith('ImageNet'):
    recipe = f'configs/finetune/high_resolution.py:variant={variant}'
    return methods.Transferred(recipe, start, _evaluator(row))
  recipe = f'{TRANSFER}:dataset={DATASETS[row]},variant={variant}'
  return methods.Transferred(recipe, start)


def table_3(row, column):
  variant, data = row.split()
  name = model_names.of_variant(variant)
  recipe = {
    'JFT': f'configs/pretrain/vit_jft.py:variant={name}',
    'I21k': f'configs/pretrain/vit_i21k.py:variant={variant}',
    'ImageNet': f'configs/pretrain/vit_i1k.py:variant={variant}',
  }[data]
  read = {
    'Epochs': _epochs,
    'Learning rate': lambda config: config.optimizer.learning_rate,
    'Weight decay': lambda config: config.optimizer.weight_decay,
    'Dropout': lambda config: config.model.dropout,
  }[column]
  return methods.Computed(lambda: read(costs.load(recipe)))


def table_4(row, column):
  dataset = 'vtab/dtd' if row == 'VTAB' else DATASETS[row]
  recipe = f'{TRANSFER}:dataset={dataset}'

  def rates():
    (values,) = recipes.grid(recipes.from_folder(recipe)).values()
    return values

  values = {
    'Steps': lambda: costs.load(recipe).run.num_steps,
    'Lowest rate': lambda: min(rates()),
    'Highest rate': lambda: max(rates()),
    'Rates': lambda: len(rates()),
  }
  return methods.Computed(values[column])


def table_5(row, column):
  pretraining, dataset = row.split(' ', 1)
  file = _file(column)
  evaluator = _evaluator(dataset)
  if pretraining == 'JFT':
    return methods.Refused(methods.JFT, 'the rows I21k')
  fine_tuned = f'imagenet21k+imagenet2012/{file}'
  if (
    pretraining == 'I21k'
    and dataset.startswith('ImageNet')
    and fine_tuned in catalog.ENTRIES
  ):
    return methods.Evaluated(fine_tuned, 'imagenet2012', evaluator)
  start = f'imagenet21k/{file}'
  if pretraining == 'ImageNet':
    start = f'configs/pretrain/vit_i1k.py:variant={column}'
  recipe = f'{TRANSFER}:dataset={DATASETS[dataset]},variant={column}'
  return methods.Transferred(recipe, start, evaluator)


def table_6(row, column):
  variant, num_epochs = row.split(', ')
  if column == 'exaFLOPs':
    return methods.Computed(
      lambda: (
        costs.jft_exaflops(model_names.of_variant(variant)) * int(num_epochs)
      )
    )
  return methods.Refused(methods.JFT, 'table5, rows I21k; make miniature')


def table_7(row, column):
  del row, column
  return methods.Refused(methods.JFT, 'make miniature')


def table_8(row, column):
  del row, column
  recipe = 'configs/pretrain/position_embeddings.py'
  return methods.Refused(methods.JFT, f'{recipe}; make miniature')


def table_9(row, column):
  if 'JFT' in column:
    return methods.Refused(methods.JFT, 'the column L/16 I21k')
  if row == 'Mean':
    return methods.Averaged(tuple(table_9(task, column) for task in _TASKS))
  return methods.Transferred(
    f'{TRANSFER}:dataset=vtab/{_TASKS[row]},variant=L/16',
    'imagenet21k/ViT-L_16',
  )


def figure_2(row, column):
  if 'JFT' in column:
    return methods.Refused(methods.JFT, 'the column L/16 I21k')
  group = vtab.GROUPS[row.lower()]
  return methods.Averaged(
    tuple(table_9(row, column) for row, task in _TASKS.items() if task in group)
  )


def _evaluator(dataset):
  return 'real' if dataset.endswith('ReaL') else 'classification'


def _file(variant):
  """Returns what the released file of B/16 is called: ViT-B_16."""
  return model_names.to_file(model_names.of_variant(variant))


def _core_days(variant, data):
  """Returns the days of pre-training on a TPUv3 core, at UTILIZATION.

  14 epochs of JFT-300M, or 90 of ImageNet-21k.
  """
  exaflops = {
    'JFT': lambda name: 14 * costs.jft_exaflops(name),
    'I21k': lambda name: 90 * costs.i21k_exaflops(name),
  }[data](model_names.of_variant(variant))
  core = accelerators.CHIPS['v3'].peak / accelerators.CHIPS['v3'].devices
  return exaflops * 1e18 / (core * costs.UTILIZATION) / 86_400


def _epochs(config):
  """Returns the epochs of a pre-training; those of JFT are set in steps."""
  if config.run.num_epochs is not None:
    return config.run.num_epochs
  return config.run.num_steps * config.run.batch_size / compute_cost.JFT_IMAGES
