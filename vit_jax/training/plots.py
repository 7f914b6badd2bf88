"""Plots of a finished run: its learning curve, and its predictions.

Figures are drawn without pyplot, so that no global state changes.
"""

import pathlib

from matplotlib import figure, ticker
from matplotlib.backends import backend_agg

from vit_jax.training.runtime import log

MAX_IMAGES = 40
COLUMNS = 10

# Safe for the colour-blind (Okabe & Ito, 2008).
BLUE, RED = '#0072B2', '#D55E00'
INK, FAINT = '#222222', '#D9D9D9'


def learning_curve(workdir):
  """Plots loss and accuracy over steps to workdir/learning_curve.png.

  Returns:
    The path of the plot.

  Raises:
    UserError: `workdir` has no metrics.
  """
  records = log.read_metrics(workdir)
  picture = blank(8, 3.2)
  picture.set_layout_engine('constrained', w_pad=0.12, h_pad=0.08, wspace=0.05)
  panels = picture.subplots(1, 2)
  for axes, name in zip(panels, ('loss', 'accuracy')):
    _curve(axes, records, 'train', name, color=BLUE, linewidth=1.4)
    _curve(
      axes, records, 'eval', name, color=RED, linewidth=1.8, marker='o', ms=4
    )
    _style(axes, name)
  panels[0].set_ylim(bottom=0)
  panels[1].set_ylim(0, 1)
  panels[1].yaxis.set_major_formatter(ticker.PercentFormatter(1))
  return save(picture, pathlib.Path(workdir) / 'learning_curve.png')


def predictions(path, images, labels, predicted, class_names=None):
  """Plots images with their predicted classes; mistakes are marked.

  Args:
    path: of the PNG.
    images: uint8 [n, height, width, 3]; the first 40 are shown.
    labels: class indices [n]; -1 where there is none.
    predicted: class indices [n].
    class_names: name of each class; None, or too few: its index.

  Returns:
    The path of the plot.
  """
  shown = list(zip(images, labels, predicted))[:MAX_IMAGES]
  marked = [label >= 0 and label != guess for _, label, guess in shown]
  captions = [
    _prediction(label, guess, class_names) for _, label, guess in shown
  ]
  return grid(path, images, captions, _score(shown), marked)


def grid(path, images, captions, title, marked=None):
  """Plots images with a caption of one or two lines below each.

  Args:
    path: of the PNG.
    images: uint8 [n, height, width, 3]; the first 40 are shown.
    captions: of each.
    title: above them all.
    marked: whether to draw a red frame around each; None: none.

  Returns:
    The path of the plot.
  """
  shown = list(zip(images, captions, marked or [False] * len(captions)))
  shown = shown[:MAX_IMAGES]
  columns = min(COLUMNS, max(len(shown), 5))
  rows = max(1, -(-len(shown) // columns))
  height = rows * 1.42 + 0.45  # An inch of image, then two lines of text.
  picture = blank(columns * 1.1, height)
  panels = picture.subplots(
    rows,
    columns,
    squeeze=False,
    gridspec_kw={
      'left': 0.01,
      'right': 0.99,
      'bottom': 0.42 / height,
      'top': 1 - 0.45 / height,
      'wspace': 0.1,
      'hspace': 0.42,
    },
  ).flatten()
  for axes in panels[len(shown) :]:
    axes.set_axis_off()
  for axes, (image, caption, is_marked) in zip(panels, shown):
    _panel(axes, image, caption, is_marked)
  picture.text(
    0.5,
    1 - 0.24 / height,
    title,
    color=INK,
    fontsize=12,
    fontweight='bold',
    ha='center',
    va='center',
  )
  return save(picture, path)


def blank(width, height):
  """Returns an empty figure of a size in inches."""
  picture = figure.Figure(figsize=(width, height), dpi=160, facecolor='white')
  backend_agg.FigureCanvasAgg(picture)
  return picture


def _curve(axes, records, split, name, **style):
  points = [
    (record['step'], record[name])
    for record in records
    if record['split'] == split and name in record
  ]
  if points:
    last = points[-1][1]
    shown = f'{last:.1%}' if name == 'accuracy' else f'{last:.3f}'
    axes.plot(*zip(*points), label=f'{split}  {shown}', **style)


def _style(axes, name):
  axes.set_title(
    name.capitalize(), loc='left', color=INK, fontsize=12, fontweight='bold'
  )
  axes.set_xlabel('step', color=INK)
  axes.grid(axis='y', color=FAINT, linewidth=0.8)
  axes.set_axisbelow(True)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(FAINT)
  axes.tick_params(length=0, labelcolor=INK)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
  if axes.lines:
    axes.legend(frameon=False, labelcolor=INK)


def _panel(axes, image, caption, is_marked):
  small = max(image.shape[:2]) < 128
  axes.imshow(image, interpolation='nearest' if small else 'antialiased')
  axes.set_xticks([])
  axes.set_yticks([])
  for spine in axes.spines.values():
    spine.set(
      color=RED if is_marked else FAINT, linewidth=3 if is_marked else 1
    )
  axes.set_xlabel(
    caption,
    color=RED if is_marked else INK,
    fontsize=8,
    labelpad=3,
    parse_math=False,  # A dollar sign in the name of a class is literal.
  )


def _prediction(label, guess, class_names):
  """Returns the caption of an image: its predicted and its true class."""
  text = class_name(guess, class_names)
  if label < 0:
    return text
  if label == guess:
    return f'✓ {text}'
  return f'✗ {text}\ntrue: {class_name(label, class_names)}'


def _score(shown):
  """Returns the title: how many of (image, label, predicted) are correct."""
  known = [(label, guess) for _, label, guess in shown if label >= 0]
  if not known:
    return f'{len(shown)} images without labels'
  right = sum(label == guess for label, guess in known)
  fraction = right / len(known)
  return f'{right} of {len(known)} test images recognised ({fraction:.1%})'


def class_name(index, class_names):
  """Returns a name short enough for a caption; the index where it has none."""
  has_name = class_names is not None and index < len(class_names)
  name = str(class_names[index] if has_name else index)
  return name if len(name) <= 13 else f'{name[:12]}…'


def save(picture, path):
  """Writes a figure and returns its path."""
  picture.savefig(path)
  return pathlib.Path(path)
