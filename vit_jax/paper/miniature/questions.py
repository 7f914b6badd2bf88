"""The paper's comparisons, at a size that fits a CPU: cells, runs, claims.

The recipes are those of configs/miniature; the page, docs/miniature.md.
"""

from typing import NamedTuple

BEST = 'best'  # The column of a row with the highest mean.


class Recipe(NamedTuple):
  """One run, except for its seed.

  Attributes:
    spec: path of the file, with knobs.
    fields: pairs (field of the configuration, value) on top of it.
    start: the `Recipe` of the run whose weights it starts from, or None.
  """

  spec: str
  fields: tuple = ()
  start: 'Recipe | None' = None

  def having(self, *fields):
    """Returns the same recipe with more fields."""
    return self._replace(fields=self.fields + fields)


class Claim(NamedTuple):
  """What the paper says of two cells (row, column); a column may be `BEST`.

  Attributes:
    text: the sentence.
    one: a cell.
    relation: '>' where its accuracy is claimed to be above that of `other`, '='
      where it is claimed to be about the same.
    other: a cell.
  """

  text: str
  one: tuple[str, str]
  relation: str
  other: tuple[str, str]


class Question(NamedTuple):
  """A table of accuracies, and the paper's findings.

  Attributes:
    name: of its placeholder on the page, and of its plot.
    title: above the plot.
    columns: what the columns are; where all are numbers, so is the axis.
    cells: {(row, column): Recipe}.
    claims: the paper's.
  """

  name: str
  title: str
  columns: str
  cells: dict
  claims: tuple


_PRETRAIN = 'configs/miniature/pretrain.py'
_FINETUNE = 'configs/miniature/finetune.py'
_RATE = 'optimizer.learning_rate'

VIT = Recipe(_PRETRAIN)
MODELS = {
  'ViT': VIT,
  'hybrid': Recipe(f'{_PRETRAIN}:model=hybrid'),
  'ResNet': Recipe(f'{_PRETRAIN}:model=resnet'),
}


def _positions():
  kinds = {
    'none': ('none', ('stem',)),
    '1-D': ('learned_1d', ('stem', 'every_layer', 'shared')),
    '2-D': ('learned_2d', ('stem', 'every_layer', 'shared')),
    'relative': ('relative', ('every_layer',)),
  }
  columns = {
    'stem': 'at the stem',
    'every_layer': 'in every layer',
    'shared': 'in every layer, shared',
  }
  return {
    (row, columns[placement]): VIT.having(
      ('model.position_embedding', kind),
      ('model.position_placement', placement),
    )
    for row, (kind, placements) in kinds.items()
    for placement in placements
  }


def _poolings():
  poolings = {'class token': 'class_token', 'global average': 'average'}
  return {
    (row, f'{rate:g}'): VIT.having(('model.pooling', pooling), (_RATE, rate))
    for row, pooling in poolings.items()
    for rate in (0.001, 0.004, 0.016)
  }


def _growing():
  return {
    (row, str(count)): model.having(('data.train_split', f'train[:{count}]'))
    for row, model in MODELS.items()
    for count in (512, 2048, 8192)
  }


def _resolutions():
  return {
    ('pre-trained at 16', str(resolution)): Recipe(
      f'{_FINETUNE}:resolution={resolution}', start=VIT
    )
    for resolution in (16, 24, 32)
  }


def _optimizers():
  sgd = ('optimizer.name', 'sgd'), ('optimizer.weight_decay', 0.0)
  kinds = {
    'Adam': ((), (0.001, 0.004, 0.016)),
    'SGD': (sgd, (0.03, 0.1, 0.3)),
  }
  return {
    (f'{row}, {kind}', f'{rate:g}'): MODELS[row].having(*fields, (_RATE, rate))
    for row in ('ResNet', 'ViT')
    for kind, (fields, rates) in kinds.items()
    for rate in rates
  }


QUESTIONS = (
  Question(
    'position_embeddings',
    'Where is a patch?',
    'position embeddings',
    _positions(),
    (
      Claim(
        'Without position embeddings it is worse.',
        ('1-D', 'at the stem'),
        '>',
        ('none', 'at the stem'),
      ),
      Claim(
        '1-D and 2-D are alike.',
        ('1-D', 'at the stem'),
        '=',
        ('2-D', 'at the stem'),
      ),
      Claim(
        '1-D and relative are alike.',
        ('1-D', 'at the stem'),
        '=',
        ('relative', 'in every layer'),
      ),
      Claim(
        'At the stem or in every layer: alike.',
        ('1-D', 'at the stem'),
        '=',
        ('1-D', 'in every layer'),
      ),
    ),
  ),
  Question(
    'pooling',
    'Class token or global average?',
    'learning rate',
    _poolings(),
    (
      Claim(
        'Each at its own learning rate, they are alike.',
        ('class token', BEST),
        '=',
        ('global average', BEST),
      ),
    ),
  ),
  Question(
    'growing_data',
    'More images for training',
    'training images',
    _growing(),
    (
      Claim(
        'With few images, the ResNet is ahead of the ViT.',
        ('ResNet', '512'),
        '>',
        ('ViT', '512'),
      ),
      Claim(
        'With many, the ViT is ahead of the ResNet.',
        ('ViT', '8192'),
        '>',
        ('ResNet', '8192'),
      ),
      Claim(
        'With little compute, the hybrid is ahead of the ViT.',
        ('hybrid', '8192'),
        '>',
        ('ViT', '8192'),
      ),
    ),
  ),
  Question(
    'resolution',
    'Fine-tuning at a higher resolution',
    'pixels a side',
    _resolutions(),
    (
      Claim(
        'Fine-tuning at twice the resolution is better.',
        ('pre-trained at 16', '32'),
        '>',
        ('pre-trained at 16', '16'),
      ),
    ),
  ),
  Question(
    'optimizers',
    'Adam or SGD?',
    'learning rate',
    _optimizers(),
    (
      Claim(
        'Adam is better for a ResNet, too.',
        ('ResNet, Adam', BEST),
        '>',
        ('ResNet, SGD', BEST),
      ),
    ),
  ),
)
