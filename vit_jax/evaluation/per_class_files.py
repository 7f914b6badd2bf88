"""The files of the evaluator `per_class`: tables as CSV, figures as PNG.

per_class.csv         of each class: counts, accuracy, precision, F1
confusion.csv         the matrix, true classes down and predicted across;
                      of more than 1,000 classes, confusion_pairs.csv: the
                      counts above zero, a line each
confusion.png
mistakes.csv          the 100 most confident mistakes
mistakes.png          and of the first 40, the images
"""

import csv
import io
import itertools
import math

from vit_jax import files
from vit_jax.data import transforms
from vit_jax.evaluation import confusion_figure, drawing, per_class
from vit_jax.evaluation import predictions as predicting

MAX_MISTAKES = 100  # In the table.
MAX_MATRIX = 1000  # Classes; the table of a million cells has megabytes.
_FORMULA = ('=', '+', '-', '@', '\t', '\r')  # How cells begin that compute.


def check(folder):
  """Makes the folder of the files.

  Raises:
    UserError: it can't be made.
  """
  with files.reported(folder):
    files.path(folder).mkdir(parents=True, exist_ok=True)


def write(folder, confusion, predictions, source, chain, name, class_names):
  """Writes all files.

  Args:
    folder: for the files.
    confusion: the `per_class.Confusion` of
    predictions: the `predictions.Predictions`.
    source: of the examples; see `sources`.
    chain: transforms of their images.
    name: of the examples, for titles.
    class_names: name of each class; None, or too few: its index.

  Raises:
    UserError: a file can't be written.
  """
  folder = files.path(folder)
  names = _names(class_names, confusion.num_classes)
  write_csv(folder / 'per_class.csv', *_classes(confusion, names))
  if confusion.num_classes <= MAX_MATRIX:
    write_csv(folder / 'confusion.csv', *_matrix(confusion, names))
  else:
    write_csv(folder / 'confusion_pairs.csv', *_pairs(confusion, names))
  total = len(predictions.label)
  num_right = int((predictions.label == predictions.predicted).sum())
  confusion_figure.draw(
    folder / 'confusion.png',
    confusion,
    class_names,
    f'{name}: {num_right:,} of {total:,} recognised ({num_right / total:.1%})',
  )
  worst = predictions.worst(MAX_MISTAKES)
  write_csv(folder / 'mistakes.csv', *_mistakes(worst, source, names))
  _draw_mistakes(
    folder / 'mistakes.png',
    worst,
    source,
    chain,
    class_names,
    f'{name}: {total - num_right:,} mistakes in {total:,} images',
  )


def write_csv(path, header, rows):
  """Writes a table, of UTF-8, that `csv.reader` reads as it was given.

  But a text that a spreadsheet would compute, which begins with = + - or @,
  gets an apostrophe before it.

  Raises:
    UserError: it can't be written.
  """
  with files.saving(path) as file:
    stream = io.TextIOWrapper(file, 'utf-8', newline='', write_through=True)
    writer = csv.writer(stream)
    for row in itertools.chain([header], rows):
      writer.writerow([_cell(value) for value in row])
    stream.detach()  # Else it would close the file.


def _cell(value):
  """Returns what a cell shows: '' for nan, six digits of a fraction."""
  if isinstance(value, str):
    text = drawing.decoded(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
  if isinstance(value, float):
    return '' if math.isnan(value) else f'{value:.6g}'
  return value


def _names(class_names, num_classes):
  """Returns the name of each class, its index where it has none."""
  given = [str(name) for name in class_names or ()][:num_classes]
  return given + list(map(str, range(len(given), num_classes)))


def _classes(confusion, names):
  table = per_class.PerClass.of(confusion)
  columns = [column.tolist() for column in table]
  return ('class', 'name', *table._fields), zip(
    range(len(names)), names, *columns
  )


def _matrix(confusion, names):
  rows = zip(names, confusion.rows())
  return ('true', *names), ((name, *row.tolist()) for name, row in rows)


def _pairs(confusion, names):
  pairs = zip(*(each.tolist() for each in confusion[:3]))
  return ('true', 'predicted', 'count'), (
    (names[true], names[predicted], count) for true, predicted, count in pairs
  )


def _mistakes(worst, source, names):
  header = ('file', 'true', 'predicted', 'confidence', 'true_probability')
  rows = zip(*(each.tolist() for each in worst))
  return header, (
    (source.where(index), names[label], names[predicted], *probabilities)
    for index, label, predicted, *probabilities in rows
  )


def _draw_mistakes(path, worst, source, chain, class_names, title):
  shown = predicting.Predictions(
    *(each[: drawing.MAX_IMAGES].tolist() for each in worst)
  )
  images = [
    transforms.apply(chain, source[index]['image']) for index in shown.index
  ]
  captions = [
    predicting.caption(label, predicted, confidence, class_names)
    for _, label, predicted, confidence, _ in zip(*shown)
  ]
  subtitle = 'The most confident first; per cent: confidence in the prediction.'
  drawing.grid(path, images, captions, title, subtitle if images else '')
