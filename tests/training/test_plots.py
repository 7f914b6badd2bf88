import json

import numpy as np
import PIL.Image
import pytest
from matplotlib import pyplot

from vit_jax import errors
from vit_jax.training import plots


@pytest.fixture
def images():
  draw = np.random.default_rng(0)
  return draw.integers(0, 256, (45, 8, 8, 3), np.uint8)


def shown(path):
  """Returns the pixels of a picture, uint8 [rows, columns, 3]."""
  return np.asarray(PIL.Image.open(path).convert('RGB'))


def share(pixels, color):
  """Returns the share of pixels that have a colour '#rrggbb'."""
  wanted = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
  return np.mean(np.all(pixels == np.array(wanted), axis=-1))


def write_metrics(workdir, records):
  lines = ''.join(json.dumps(record) + '\n' for record in records)
  (workdir / 'metrics.jsonl').write_text(lines)


def test_the_learning_curve_has_a_line_per_split(tmp_path):
  train = [
    {'step': step, 'split': 'train', 'loss': 9 / step, 'accuracy': step / 9}
    for step in range(1, 9)
  ]
  evaluation = [{**record, 'split': 'eval'} for record in train[::2]]
  write_metrics(tmp_path, train)
  only_train = shown(plots.learning_curve(tmp_path))
  write_metrics(tmp_path, train + evaluation)
  assert share(only_train, plots.BLUE) > 0.001
  assert share(only_train, plots.RED) == 0
  path = plots.learning_curve(tmp_path)
  assert path == tmp_path / 'learning_curve.png'
  both = shown(path)
  assert share(both, plots.RED) > 0.001
  assert both.shape[1] >= 1000


def test_metrics_that_are_nan_or_absent_leave_a_gap(tmp_path):
  write_metrics(
    tmp_path,
    [
      {'step': 1, 'split': 'train', 'loss': None},
      {'step': 2, 'split': 'train', 'loss': None},
    ],
  )
  assert share(shown(plots.learning_curve(tmp_path)), plots.BLUE) < 0.01


def test_a_run_without_metrics_has_no_learning_curve(tmp_path):
  with pytest.raises(errors.UserError, match=r'has no metrics\.jsonl'):
    plots.learning_curve(tmp_path)


def test_only_mistakes_are_marked(tmp_path, images):
  labels = np.arange(20) % 10
  wrong = labels.copy()
  wrong[7] = 0
  path = plots.predictions(tmp_path / 'p.png', images[:20], labels, labels)
  assert share(shown(path), plots.RED) == 0
  path = plots.predictions(tmp_path / 'p.png', images[:20], labels, wrong)
  assert share(shown(path), plots.RED) > 0.0005


def test_at_most_forty_images_are_shown(tmp_path, images):
  labels = np.zeros(45, int)
  all_of_them = shown(
    plots.predictions(tmp_path / 'a.png', images, labels, labels)
  )
  forty = shown(
    plots.predictions(tmp_path / 'b.png', images[:40], labels[:40], labels[:40])
  )
  np.testing.assert_array_equal(all_of_them, forty)


@pytest.mark.parametrize('count', [1, 5, 11])
def test_a_grid_of_any_number_of_images_is_drawn(tmp_path, images, count):
  labels = np.zeros(count, int)
  path = plots.predictions(
    tmp_path / 'p.png', images[:count], labels, labels, ['cat']
  )
  assert len(np.unique(shown(path).reshape(-1, 3), axis=0)) > 64


def test_small_images_keep_their_pixels(tmp_path):
  checkers = np.indices((4, 4)).sum(0) % 2 * 255
  image = np.repeat(checkers[..., None], 3, axis=-1).astype(np.uint8)
  path = plots.predictions(tmp_path / 'p.png', [image], [0], [0])
  pixels = shown(path)
  black = np.all(pixels == 0, axis=-1)
  # Half of an image of about 0.95 inches at 160 dots, without smoothing.
  assert black.sum() == pytest.approx(0.5 * (0.95 * 160) ** 2, rel=0.2)


def test_names_may_be_long_odd_or_too_few(tmp_path, images):
  labels = np.array([0, 1, 2, -1])
  predicted = np.array([1, 1, 2, 0])
  names = ['a$b_{$', 'a very long name of a class']
  plots.predictions(tmp_path / 'p.png', images[:4], labels, predicted, names)
  assert (tmp_path / 'p.png').stat().st_size > 0


@pytest.mark.parametrize(
  'examples, title',
  [
    (
      [(0, 0), (1, 1), (2, 0), (-1, 0)],
      '2 of 3 test images recognised (66.7%)',
    ),
    ([(-1, 0)], '1 images without labels'),
  ],
)
def test_the_title_counts_labelled_images(examples, title):
  assert plots._score([(None, *pair) for pair in examples]) == title


def test_drawing_leaves_pyplot_alone(tmp_path, images):
  before = pyplot.get_fignums()
  plots.predictions(tmp_path / 'p.png', images[:1], [0], [0])
  assert pyplot.get_fignums() == before
