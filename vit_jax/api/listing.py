"""What models there are, and what released weights, as lists and tables."""

import html

from vit_jax import models
from vit_jax.weights import catalog

_COLUMNS = ('name', 'model', 'MB', 'pixels', 'classes', 'accuracy')


def list_models(pattern='*'):
  """Returns the names of models, for `create_model`.

  A family has models of other sizes too, as its names say: 'ViT-S/8'.

  Args:
    pattern: as of files: 'ViT-*/16'.

  Raises:
    UserError: none is called so; it names the nearest.
  """
  return models.names(pattern)


def list_checkpoints(pattern='*'):
  """Returns the released weights of the catalogue, for `load`, as a table.

  Args:
    pattern: as of files, of their names: 'augreg/*384*'.

  Returns:
    A list that prints as a table. Each row has `name`, `model`, `num_bytes`
    (None: unknown), `resolution` (side of the images in pixels), `num_classes`
    (0: no head) and `accuracy` (top-1 on ImageNet's validation set in per cent;
    None: unknown), and the other attributes of a `catalog.Entry`.

  Raises:
    UserError: none is called so; it names the nearest.
  """
  return Checkpoints(catalog.matching(pattern))


class Checkpoints(list):
  """A list of `catalog.Entry` that prints as a table."""

  def __repr__(self):
    rows = [_COLUMNS, *map(_cells, self)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join(
      '  '.join(
        cell.ljust(width) if number < 2 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(row, widths))
      ).rstrip()
      for row in rows
    )

  def _repr_html_(self):
    head = ''.join(f'<th>{name}</th>' for name in _COLUMNS)
    rows = [
      ''.join(f'<td>{html.escape(cell)}</td>' for cell in _cells(entry))
      for entry in self
    ]
    body = ''.join(f'<tr>{row}</tr>' for row in rows)
    return f'<table><tr>{head}</tr>{body}</table>'


def _cells(entry):
  count = catalog.sizes.NUM_PARAMETERS.get(entry.name)
  return (
    entry.name,
    entry.model or '',
    f'{4 * count / 1e6:,.0f}' if count else '',
    str(entry.resolution),
    f'{entry.num_classes:,}' if entry.num_classes else '',
    f'{entry.accuracy:.2f}' if entry.accuracy else '',
  )
