"""The figure of a confusion matrix shows the counts that matter."""

import itertools

import numpy as np
import PIL.Image
import pytest

from vit_jax.evaluation import confusion_figure, per_class


def of(matrix):
  """Returns the `Confusion` of a matrix, or of {(true, predicted): count}."""
  if not isinstance(matrix, dict):
    matrix = {place: int(n) for place, n in np.ndenumerate(np.array(matrix))}
  size = 1 + max(map(max, matrix))
  pairs = sorted(place for place, count in matrix.items() if count)
  counts = np.array([matrix[place] for place in pairs], np.int64)
  true, predicted = np.array(pairs, np.int64).reshape(-1, 2).T
  return per_class.Confusion(true, predicted, counts, size)


def diagonal(size, **mistakes):
  return {(label, label): 9 for label in range(size)} | mistakes


def test_a_few_classes_are_all_shown(tmp_path, drawn):
  confusion = of([[12, 0, 3], [0, 0, 0], [1, 40_000, 0]])
  path = confusion_figure.draw(
    tmp_path / 'c.png', confusion, ['cat', 'a$b$', 'emu'], 'photos (test)'
  )
  assert PIL.Image.open(path).size[0] > 700
  (axes,) = drawn[0].axes
  for axis in axes.get_xticklabels(), axes.get_yticklabels():
    assert [text.get_text() for text in axis] == ['cat', 'a$b$', 'emu']
  texts = {text.get_position(): text.get_text() for text in axes.texts}
  counts = {
    place: text
    for place, text in texts.items()
    if place[0] in (0, 2) and text != 'correct'
  }
  assert counts == {(0, 0): '12', (2, 0): '3', (0, 2): '1'}
  assert texts[1, 2] == '40k'  # Across: predicted, down: true.
  behind = [text for place, text in texts.items() if place[0] == 2.7]
  assert behind[:3] == ['80%', '–', '0%']


def test_right_is_blue_and_wrong_is_orange_and_nothing_is_white():
  colors = confusion_figure._colors(np.array([[0.9, 0.1], [0.0, 0.0]]))
  red, _, blue, _ = np.moveaxis(colors, -1, 0)
  assert blue[0, 0] > red[0, 0] and red[0, 1] > blue[0, 1]
  assert (colors[1, 0] == 1).all() and (colors[1, 1] == 1).all()


@pytest.mark.parametrize('num_classes', [100, 1000, 21_843])
def test_of_many_classes_the_most_confused_are_shown(
  tmp_path, drawn, num_classes
):
  mistakes = {(k, k + 50): 40 - k for k in range(0, 40)}
  mistakes[0, 1], mistakes[99, 3] = 45, 1
  confusion = of(
    {(label, label): 60 for label in range(num_classes)} | mistakes
  )
  classes = confusion_figure.most_confused(confusion, 25)
  assert len(classes) == 25 and {0, 1, 50, 2, 52} <= set(classes.tolist())
  assert 99 not in classes and (np.diff(classes) > 0).all()
  counts = confusion_figure.matrix(confusion, classes)
  whole = np.zeros((100, 100), int)
  for (true, predicted), count in mistakes.items():
    whole[true, predicted] = count
  np.fill_diagonal(whole, 60)
  np.testing.assert_array_equal(counts[:, :25], whole[np.ix_(classes, classes)])
  np.testing.assert_array_equal(counts.sum(1), whole[classes].sum(1))
  confusion_figure.draw(tmp_path / 'c.png', confusion, None, 'title')
  said = drawn[0].texts[1].get_text()
  assert said.startswith(f'The 25 most confused of {num_classes:,} classes')


def test_many_classes_without_mistakes_are_the_first(tmp_path, drawn):
  confusion = of({(label, label): 2 for label in range(30)})
  confusion_figure.draw(tmp_path / 'c.png', confusion, None, 'title')
  assert 'The 25 first of 30 classes' in drawn[0].texts[1].get_text()
  assert len(drawn[0].axes[0].get_xticklabels()) == 25


@pytest.mark.parametrize('size', [2, 10, 25, 26])
def test_names_stay_inside_the_figure_and_apart(tmp_path, drawn, size):
  names = [f'a rather long name, number {k}' for k in range(size)]
  matrix = np.full((size, size), 3) + 40 * np.eye(size, dtype=int)
  confusion_figure.draw(tmp_path / 'c.png', of(matrix), names, 'title ' * 9)
  picture = drawn[0]
  (axes,) = picture.axes
  frame = picture.bbox
  shown = [
    *axes.get_yticklabels(),
    *axes.get_xticklabels(),
    *axes.texts,
    *picture.texts,
    axes.xaxis.label,
    axes.yaxis.label,
  ]
  for text in shown:
    box = text.get_window_extent()
    assert frame.x0 <= box.x0 and box.x1 <= frame.x1, text
    assert frame.y0 <= box.y0 and box.y1 <= frame.y1, text
  boxes = [text.get_window_extent() for text in axes.get_yticklabels()]
  assert not any(one.overlaps(two) for one, two in itertools.pairwise(boxes))
  inside = axes.get_window_extent()
  assert not any(box.overlaps(inside) for box in boxes)
