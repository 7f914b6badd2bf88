"""Tables of 'How to train your ViT?' and the method of each of their cells.

Steiner et al., 2022, arXiv 2106.10270 (AugReg). A mean in table 5 is that of
the group of tasks above it. Its tasks are learned from all of their training
data, and do not compare with table 9 of the ViT paper, which takes 1,000
examples of each.
"""

from vit_jax.config import model_names
from vit_jax.data.datasets import vtab
from vit_jax.paper import methods, published
from vit_jax.weights import catalog

TABLE_3 = published.table(
  'ImageNet top-1 after fine-tuning; images per second of a V100 (img/s)',
  """
           | 224 img/s | 224 i1k up | 224 i1k 300 | 224 i21k 30 | 224 i21k 300 | 384 img/s | 384 i1k 300 | 384 i21k 30 | 384 i21k 300 | 384 i21k v2
  L/16     | 228       | 75.72      | 74.01       | 82.05       | 83.98        | 50        | 77.21       | 84.48       | 85.59        | 87.08
  B/16     | 659       | 79.84      | 78.73       | 80.42       | 83.96        | 138       | 81.63       | 83.46       | 85.49        | 86.15
  S/16     | 1508      | 79.00      | 77.51       | 76.04       | 80.46        | 300       | 80.70       | 80.22       | 83.73        | 83.15
  R50+L/32 | 1047      | 76.84      | 74.17       | 80.26       | 82.74        | 327       | 76.71       | 83.19       | 85.99        | 86.21
  R26+S/32 | 1814      | 79.61      | 78.20       | 77.42       | 80.81        | 560       | 81.55       | 81.11       | 83.85        | 83.80
  Ti/16    | 3097      | 72.59      | 69.56       | 68.89       | 73.75        | 610       | 74.64       | 74.20       | 78.22        | 77.83
  B/32     | 3597      | 74.42      | 71.38       | 72.24       | 79.13        | 955       | 76.60       | 78.65       | 83.59        | 83.59
  S/32     | 8342      | 72.07      | 69.19       | 68.49       | 73.47        | 2154      | 75.65       | 75.74       | 79.58        | 80.01
  R+Ti/16  | 9371      | 70.13      | 67.30       | 65.65       | 69.69        | 2426      | 73.48       | 71.97       | 75.40        | 75.33
  """,  # noqa: E501
)

TABLE_5 = published.table(
  'VTAB in full, from 300 epochs of ImageNet-21k',
  """
                   | R+Ti/16 | S/32 | B/32 | Ti/16 | R26+S/32 | S/16 | R50+L/32 | B/16 | L/16
  Caltech101       | 93.2    | 93.2 | 95.2 | 93.7  | 94.8     | 95.2 | 95.7     | 96.0 | 95.5
  CIFAR-100        | 85.3    | 89.7 | 92.3 | 87.2  | 90.9     | 90.8 | 93.9     | 93.2 | 94.1
  DTD              | 71.5    | 75.3 | 77.2 | 73.1  | 78.9     | 77.8 | 81.6     | 79.1 | 80.3
  Flowers102       | 99.0    | 99.2 | 99.5 | 99.2  | 99.5     | 99.6 | 99.5     | 99.6 | 99.6
  Pets             | 90.3    | 92.0 | 92.8 | 91.0  | 94.1     | 93.2 | 94.9     | 94.7 | 95.0
  Sun397           | 74.7    | 78.1 | 81.2 | 77.3  | 81.3     | 80.6 | 83.6     | 83.0 | 83.4
  SVHN             | 95.2    | 96.1 | 96.6 | 95.7  | 96.7     | 96.6 | 97.1     | 97.0 | 97.4
  Natural mean     | 87.0    | 89.1 | 90.7 | 88.2  | 90.9     | 90.5 | 92.3     | 91.8 | 92.2
  Camelyon         | 85.2    | 84.0 | 87.0 | 86.0  | 87.5     | 86.7 | 85.8     | 87.4 | 86.4
  EuroSAT          | 98.3    | 98.5 | 98.8 | 98.5  | 98.4     | 98.8 | 98.7     | 98.7 | 99.0
  Resisc45         | 95.3    | 95.4 | 96.0 | 95.8  | 96.4     | 96.4 | 96.7     | 96.8 | 96.6
  Retinopathy      | 81.3    | 80.6 | 81.3 | 81.9  | 84.2     | 82.9 | 84.2     | 83.5 | 83.3
  Specialized mean | 90.0    | 89.6 | 90.8 | 90.6  | 91.7     | 91.2 | 91.3     | 91.6 | 91.3
  Clevr-Count      | 95.5    | 96.9 | 97.7 | 98.3  | 99.9     | 99.1 | 100      | 99.7 | 99.8
  Clevr-Dist       | 90.5    | 88.7 | 89.8 | 89.7  | 92.4     | 89.8 | 92.0     | 89.0 | 91.7
  DMLab            | 67.4    | 68.1 | 70.5 | 70.8  | 77.0     | 73.9 | 76.8     | 76.0 | 75.6
  dSpr-Loc         | 99.9    | 100  | 100  | 100   | 100      | 100  | 100      | 100  | 100
  dSpr-Ori         | 87.4    | 91.0 | 92.3 | 86.0  | 87.1     | 87.6 | 87.2     | 86.7 | 90.4
  KITTI-Dist       | 78.2    | 79.6 | 82.7 | 82.6  | 83.4     | 85.1 | 85.2     | 85.7 | 84.7
  sNORB-Azim       | 24.5    | 26.2 | 25.9 | 26.8  | 28.6     | 26.8 | 26.8     | 28.3 | 27.5
  sNORB-Elev       | 45.2    | 55.0 | 83.1 | 49.9  | 56.0     | 61.1 | 61.8     | 68.2 | 76.5
  Structured mean  | 73.6    | 75.7 | 80.2 | 75.5  | 78.1     | 77.9 | 78.7     | 79.2 | 80.8
  """,  # noqa: E501
)

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
  zip((row for row in TABLE_5.rows if row not in _MEANS), vtab.TASKS)
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
  variant = model_names.of_variant(column)
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
