"""The figure of a confusion matrix, legible however many classes there are."""

import matplotlib
import numpy as np

from vit_jax.evaluation import drawing, per_class

MAX_CLASSES = 25  # More are not legible: then it is the most confused.
_NAME_WIDTH = 22  # In letters.
_LETTER = 0.075  # Inches.


def draw(path, confusion, class_names, title):
  """Draws the matrix, true classes down and predicted ones across.

  What is right is blue and what is wrong is orange, darker the larger its
  fraction of the true class. Of more than 25 classes, those are shown that are
  confused most often, and all others share the last column.

  Args:
    path: of the PNG.
    confusion: a `per_class.Confusion`.
    class_names: name of each class; None, or too few: its index.
    title: above it all.

  Returns:
    The path of the figure.
  """
  classes = most_confused(confusion, MAX_CLASSES)
  counts = matrix(confusion, classes)
  names = [
    drawing.class_name(index, class_names, _NAME_WIDTH)
    for index in classes.tolist()
  ]
  columns = [*names, 'all others'] if counts.shape[1] > len(names) else names
  picture, axes = _axes(names, columns, title, _subtitle(confusion, classes))
  total = counts.sum(1, keepdims=True)
  fractions = counts / np.maximum(total, 1)
  axes.imshow(_colors(fractions), interpolation='none')
  _write_counts(axes, counts, fractions)
  _write_names(axes, names, columns)
  accuracy = per_class.PerClass.of(confusion).accuracy[classes]
  _write_accuracies(axes, accuracy, len(columns))
  return drawing.save(picture, path)


def most_confused(confusion, limit):
  """Returns which classes to show, increasing: all, if no more than `limit`.

  Else those of the most frequent mistakes; without any, the first.
  """
  if confusion.num_classes <= limit:
    return np.arange(confusion.num_classes)
  true, predicted, _ = confusion.mistakes()
  pairs = np.stack([true, predicted], axis=1).ravel()
  _, first = np.unique(pairs, return_index=True)
  chosen = pairs[np.sort(first)][:limit]
  return np.sort(chosen) if chosen.size else np.arange(limit)


def matrix(confusion, classes):
  """Returns counts [shown, shown], or a column more: of what is not shown."""
  place = np.full(confusion.num_classes, len(classes))
  place[classes] = np.arange(len(classes))
  counts = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
  np.add.at(
    counts, (place[confusion.true], place[confusion.predicted]), confusion.count
  )
  shown = counts[:-1]  # The last row is of classes that are not shown.
  return shown if shown[:, -1].any() else shown[:, :-1]


def _subtitle(confusion, classes):
  shown = 'Number of images; colour: fraction of the true class.'
  if len(classes) == confusion.num_classes:
    return shown
  kind = 'most confused' if confusion.mistakes()[0].size else 'first'
  these = f'{len(classes)} {kind} of {confusion.num_classes:,} classes'
  return f'The {these}. {shown}'


def _axes(names, columns, title, subtitle):
  """Returns a figure and axes of square cells, with room for names around."""
  cell = _cell(len(names))
  room = _LETTER * max(map(drawing.letters, columns))
  left, right = 0.5 + room, 0.9
  below = 0.55 + (0.75 * room if _turned(columns, cell) else 0)
  above = 0.95
  width = left + cell * len(columns) + right
  width = max(width, 0.2 + drawing.TITLE * drawing.letters(title), 5)
  height = above + cell * len(names) + below
  picture = drawing.blank(width, height)
  drawing.heading(picture, title, subtitle)
  axes = picture.add_axes(
    (
      left / width,
      below / height,
      cell * len(columns) / width,
      cell * len(names) / height,
    )
  )
  return picture, axes


def _cell(count):
  """Returns the side of a cell in inches."""
  return 0.8 if count <= 4 else 0.5 if count <= 12 else 0.36


def _turned(columns, cell):
  """Returns whether the names of columns are too wide for cells."""
  return max(map(drawing.letters, columns)) * _LETTER > 0.9 * cell


def _colors(fractions):
  """Returns RGBA [rows, columns, 4]: blue on the diagonal, orange elsewhere."""
  shades = np.sqrt(fractions)  # That a few per cent are seen.
  right, wrong = (
    matplotlib.colormaps[name](0.8 * shades) for name in ('Blues', 'Oranges')
  )
  is_right = np.eye(*fractions.shape, dtype=bool)[..., None]
  colors = np.where(is_right, right, wrong)
  return np.where((fractions > 0)[..., None], colors, 1.0)


def _write_counts(axes, counts, fractions):
  size = {0.8: 12, 0.5: 9, 0.36: 7}[_cell(len(counts))]
  for (row, column), count in np.ndenumerate(counts):
    if count:
      dark = fractions[row, column] > 0.5
      axes.text(
        column,
        row,
        str(count) if count < 10_000 else f'{count / 1000:.0f}k',
        color='white' if dark else drawing.INK,
        fontsize=size,
        ha='center',
        va='center',
      )


def _write_names(axes, names, columns):
  style = {'color': drawing.INK, 'fontsize': 9, 'parse_math': False}
  axes.set_yticks(range(len(names)), names, **style)
  if _turned(columns, _cell(len(names))):
    style |= {'rotation': 45, 'ha': 'right', 'rotation_mode': 'anchor'}
  axes.set_xticks(range(len(columns)), columns, **style)
  axes.set_ylabel('true', color=drawing.INK, fontweight='bold')
  axes.set_xlabel('predicted', color=drawing.INK, fontweight='bold')
  axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
  axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
  axes.grid(which='minor', color=drawing.FAINT, linewidth=0.6)
  axes.tick_params(which='both', length=0)
  axes.spines[:].set_visible(False)


def _write_accuracies(axes, accuracies, num_columns):
  """Writes the accuracy of each class behind its row."""
  style = {'color': drawing.INK, 'fontsize': 9}
  for row, value in enumerate(accuracies):
    shown = '–' if np.isnan(value) else f'{value:.0%}'
    axes.text(num_columns - 0.3, row, shown, va='center', **style)
  axes.annotate(
    'correct',
    (num_columns - 0.3, -0.5),
    xytext=(0, 5),
    textcoords='offset points',
    annotation_clip=False,
    fontweight='bold',
    **style,
  )
