"""How each cell of AugReg's tables is reproduced."""

from vit_jax.data.datasets import vtab
from vit_jax.paper import augreg_tables, cells, methods
from vit_jax.weights import catalog

FINETUNING = 'configs/finetune/augreg.py'

# Learning rates of the fine-tuned files that vision_transformer's README
# recommends at 384 pixels. Those at 224 are taken at the same rate.
_RATES = {
  'L/16': 0.01,
  'B/16': 0.03,
  'S/16': 0.03,
  'R50+L/32': 0.01,
  'R26+S/32': 0.01,
  'Ti/16': 0.03,
  'B/32': 0.01,
  'S/32': 0.01,
  'R+Ti/16': 0.03,
}
# Rows of table 5: the mean of a group of tasks, and a task.
_MEANS = {f'{group.capitalize()} mean': group for group in vtab.GROUPS}
_TASKS = dict(
  zip(
    (row for row in augreg_tables.TABLE_5.rows if row not in _MEANS), vtab.TASKS
  )
)


def table_3(row, column):
  """The best by upstream accuracy for ImageNet-21k; by index.csv for others.

  For 30 epochs, and for ImageNet alone, that is the file with the best
  validation accuracy after fine-tuning.
  """
  resolution, data = column.split(' ', 1)
  model = _file(row)
  if data == 'img/s':
    return methods.Quoted('of a V100 (figure12 times what there is)')
  files = {
    'i1k up': f'best/{model}-i1k',
    'i1k 300': f'best/{model}-i1k-imagenet2012-{resolution}',
    'i21k 30': f'best/{model}-i21k_30-imagenet2012-{resolution}',
    'i21k 300': _recommended(row, model, resolution),
    'i21k v2': f'{model}-i21k-imagenet2012-{resolution}',
  }
  return methods.Evaluated(f'augreg/{files[data]}', 'imagenet2012')


def table_5(row, column):
  if row in _MEANS:
    tasks = vtab.GROUPS[_MEANS[row]]
    rows = [row for row, task in _TASKS.items() if task in tasks]
    return methods.Averaged(tuple(table_5(row, column) for row in rows))
  variant = cells.whole_name(column)
  return methods.Transferred(
    f'{FINETUNING}:dataset=vtab_full/{_TASKS[row]},variant={variant}',
    f'augreg/{_file(column)}',
  )


def _file(model):
  """Returns a model such as R26+S/32 as it is written in file names."""
  return model.replace('+', '_').replace('/', '_')


def _recommended(row, model, resolution):
  entry = catalog.get(f'augreg/{model}')
  file = entry.address.rpartition('/')[2].removesuffix('.npz')
  return f'{file}--imagenet2012-steps_20k-lr_{_RATES[row]}-res_{resolution}'
