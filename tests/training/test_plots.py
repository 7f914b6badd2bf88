import json

import numpy as np
import PIL.Image
import pytest

from vit_jax import errors
from vit_jax.config import recipes, schema
from vit_jax.evaluation import drawing
from vit_jax.training import plots, validation


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


def legend(axes):
  return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_learning_curve_has_a_line_per_split(tmp_path):
  train = [
    {'step': step, 'split': 'train', 'loss': 9 / step, 'accuracy': step / 9}
    for step in range(1, 9)
  ]
  evaluation = [{**record, 'split': 'eval'} for record in train[::2]]
  write_metrics(tmp_path, train)
  only_train = shown(plots.learning_curve(tmp_path))
  write_metrics(tmp_path, train + evaluation)
  assert share(only_train, drawing.BLUE) > 0.001
  assert share(only_train, drawing.RED) == 0
  path = plots.learning_curve(tmp_path)
  assert path == tmp_path / 'learning_curve.png'
  both = shown(path)
  assert share(both, drawing.RED) > 0.001
  assert both.shape[1] >= 1000


def test_metrics_that_are_nan_or_absent_leave_a_gap(tmp_path):
  write_metrics(
    tmp_path,
    [
      {'step': 1, 'split': 'train', 'loss': None},
      {'step': 2, 'split': 'train', 'loss': None},
    ],
  )
  assert share(shown(plots.learning_curve(tmp_path)), drawing.BLUE) < 0.01


def test_a_run_without_metrics_has_no_learning_curve(tmp_path):
  with pytest.raises(errors.UserError, match=r'has no metrics\.jsonl'):
    plots.learning_curve(tmp_path)


def of(split, **values):
  """Returns records of steps 1, 2, ..., each value a list."""
  names, columns = values.keys(), zip(*values.values())
  return [
    {'step': step, 'split': split, **dict(zip(names, column))}
    for step, column in enumerate(columns, 1)
  ]


@pytest.mark.parametrize(
  'values, step, labels',
  [
    # By accuracy, though the loss is least elsewhere; by loss among equals.
    (
      {'accuracy': [0.5, 0.9, 0.9, 0.4], 'loss': [1.0, 0.7, 0.6, 0.5]},
      3,
      ('best step 3  0.600', 'best step 3  90.0%'),
    ),
    ({'loss': [1.0, None, 0.2, 0.5]}, 3, ('best step 3  0.200', None)),
    ({'accuracy': [None, 0.1]}, 2, (None, 'best step 2  10.0%')),
  ],
)
def test_the_best_step_is_marked(tmp_path, drawn, values, step, labels):
  train = of('train', loss=[3.0, 2.0, 1.0, 0.5], accuracy=[0.1, 0.2, 0.3, 0.4])
  write_metrics(tmp_path, train + of('eval', **values))
  plots.learning_curve(tmp_path)
  for axes, label in zip(drawn[0].axes, labels):
    assert [text for text in legend(axes) if 'best' in text] == (
      [label] if label else []
    )
    marks = [line for line in axes.lines if line.get_marker() == 'D']
    assert [list(mark.get_xdata()) for mark in marks] == (
      [[step]] if label else []
    )


def test_without_a_finite_evaluation_nothing_is_best(tmp_path, drawn):
  write_metrics(tmp_path, of('eval', loss=[None, None]))
  plots.learning_curve(tmp_path)
  assert not any('best' in text for text in legend(drawn[0].axes[0]))


@pytest.mark.parametrize('count, window', [(15, None), (40, 5), (200, 25)])
def test_long_lines_of_training_are_smoothed_and_say_so(
  tmp_path, drawn, count, window
):
  values = np.random.default_rng(0).uniform(1, 2, count)
  values[count // 2] = np.nan
  listed = [None if np.isnan(value) else value for value in values.tolist()]
  write_metrics(tmp_path, of('train', loss=listed))
  plots.learning_curve(tmp_path)
  axes = drawn[0].axes[0]
  raw, *smooth = axes.lines
  np.testing.assert_array_equal(raw.get_ydata(), values)
  if window:
    assert raw.get_alpha() < 0.5
    middle = count // 4
    around = values[middle - window // 2 : middle + window // 2 + 1]
    found = smooth[0].get_ydata()
    assert found[middle] == pytest.approx(np.nanmean(around))
    assert np.isnan(found[count // 2])
    last = np.mean(values[-1 - window // 2 :])
    assert found[-1] == pytest.approx(last)
    assert legend(axes) == [f'train  {last:.3f}  (mean of {window} points)']
  else:
    assert legend(axes) == [f'train  {values[-1]:.3f}']


@pytest.mark.parametrize(
  'fields, said',
  [
    ({'mixup': 0.5}, 'mixed (mixup 0.5):'),
    ({'cutmix': 1.0}, 'mixed (CutMix 1):'),
    ({'augmentation': 'medium1', 'cutmix': 0.5}, 'mixed (mixup 0.2, CutMix'),
    ({'augmentation': 'medium1', 'mixup': 0.0}, ''),
    ({'balance': True}, 'training classes are balanced:'),
    (
      {'balance': True, 'mixup': 0.1},
      'training images are mixed (mixup 0.1) and classes are balanced:',
    ),
    ({}, ''),
  ],
)
def test_mixed_training_images_are_told(tmp_path, drawn, fields, said):
  config = schema.default()
  config.data.update(fields)
  recipes.save(config, tmp_path)
  write_metrics(tmp_path, of('train', loss=[1.0, 2.0]))
  plots.learning_curve(tmp_path)
  texts = [text.get_text() for text in drawn[0].texts]
  assert any('not comparable' in text for text in texts) == bool(said)
  assert any(said in text for text in texts)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('loss', [[0.0], [0.0, 0.0, 0.0]])
def test_a_loss_of_zero_is_drawn_without_a_warning(tmp_path, loss):
  write_metrics(tmp_path, of('train', loss=loss) + of('eval', loss=loss))
  assert plots.learning_curve(tmp_path).exists()


def test_a_single_point_is_seen(tmp_path):
  for split, color in (('train', drawing.BLUE), ('eval', drawing.RED)):
    write_metrics(tmp_path, of(split, accuracy=[0.5]))
    alone = shown(plots.learning_curve(tmp_path))
    panel = alone[:, alone.shape[1] * 4 // 5 :]  # Without the legend.
    assert share(panel, color) > 1e-5


def test_steps_that_a_rollback_repeats_count_once(tmp_path, drawn):
  records = of('eval', accuracy=[0.1, 0.9, 0.2])
  write_metrics(tmp_path, [*records, {**records[1], 'accuracy': 0.3}])
  plots.learning_curve(tmp_path)
  line = drawn[0].axes[1].lines[0]
  assert list(line.get_xdata()) == [1, 2, 3]


def sample(labels, predicted, size=8):
  """Returns a `validation.Sample` whose images tell their number."""
  labels, predicted = np.array(labels), np.array(predicted)
  image = np.zeros((len(labels), size, size, 3), np.uint8)
  image += np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
  confidence = np.linspace(0.5, 1, len(labels), dtype=np.float32)
  return validation.Sample(image, labels, predicted, confidence)


@pytest.fixture
def grids(monkeypatch):
  """What is asked to be drawn."""
  grids = []
  monkeypatch.setattr(drawing, 'grid', lambda *given: grids.append(given))
  return grids


def test_only_mistakes_are_marked(tmp_path):
  labels = np.arange(20) % 10
  wrong = labels.copy()
  wrong[7] = 0
  path = tmp_path / 'p.png'
  plots.predictions(path, sample(labels, labels), 20)
  assert share(shown(path), drawing.RED) == 0
  plots.predictions(path, sample(labels, wrong), 20)
  assert share(shown(path), drawing.RED) > 0.0005


def test_mistakes_come_first_and_unlabelled_images_last(grids):
  names = ['cat', 'dog', 'emu']
  given = sample([0, -1, 1, 2, 0], [0, 1, 0, 2, 2])
  plots.predictions('p.png', given, 12_345, names)
  ((_, images, captions, title, subtitle, marked),) = grids
  assert images[:, 0, 0, 0].tolist() == [2, 4, 0, 3, 1]
  assert marked == [True, True, False, False, False]
  assert captions == [
    '✗ cat · 75%\ntrue: dog',
    '✗ emu · 100%\ntrue: cat',
    '✓ cat · 50%',
    '✓ emu · 88%',
    'dog · 62%',
  ]
  assert title == '2 of 4 sampled images recognised (50.0%)'
  assert 'random sample of 12,345 test images' in subtitle


def test_a_sample_without_labels_says_so(grids):
  plots.predictions('p.png', sample([-1, -1], [0, 1]), 2)
  assert grids[0][3] == '2 images without labels'


def test_names_may_be_long_odd_or_too_few(tmp_path):
  names = ['a$b_{$', 'a very long name of a class']
  given = sample([0, 1, 2, -1], [1, 1, 2, 0])
  plots.predictions(tmp_path / 'p.png', given, 4, names)
  assert (tmp_path / 'p.png').stat().st_size > 0
