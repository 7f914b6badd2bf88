"""Plots of a finished run: its learning curve, and its predictions."""

import math

import numpy as np
from matplotlib import ticker

from vit_jax import files
from vit_jax.config import recipes
from vit_jax.data.transforms import mixing
from vit_jax.evaluation import drawing, metrics
from vit_jax.evaluation import predictions as predicting
from vit_jax.training.runtime import metrics_file

_SMOOTHED = 16  # Points from which a line of training is smoothed.


def learning_curve(workdir):
  """Plots loss and accuracy over steps to workdir/learning_curve.png.

  The best evaluation is marked, by `metrics.score`; of a long training, a
  moving average lies over the faint points; and where training images are
  mixed or balanced, so that their metrics are of another task, the figure says
  so.

  Returns:
    The path of the plot.

  Raises:
    UserError: `workdir` has no metrics.
  """
  workdir = files.path(workdir)
  records = metrics_file.read(workdir)
  picture = drawing.blank(8, 3.4)
  note = _note(workdir)
  picture.set_layout_engine(
    'constrained',
    w_pad=0.12,
    h_pad=0.08,
    wspace=0.05,
    rect=(0, 0.06, 1, 0.94) if note else (0, 0, 1, 1),
  )
  picture.text(
    0.5, 0.035, note, color=drawing.GREY, fontsize=8.5, ha='center', va='center'
  )
  panels = picture.subplots(1, 2)
  best = best_step(records)
  for axes, name in zip(panels, ('loss', 'accuracy')):
    _train_line(axes, name, *_points(records, 'train', name))
    _eval_line(axes, name, *_points(records, 'eval', name), best)
    _style(axes, name)
  losses = [record['loss'] for record in records if 'loss' in record]
  highest = max(filter(math.isfinite, losses), default=1)
  panels[0].set_ylim(0, 1.05 * highest or 1)  # Of one class, the loss is 0.
  panels[1].set_ylim(0, 1)
  panels[1].yaxis.set_major_formatter(ticker.PercentFormatter(1))
  return drawing.save(picture, workdir / 'learning_curve.png')


def predictions(path, sample, num_examples, class_names=None):
  """Plots a sample of images with their predicted classes, mistakes first.

  Args:
    path: of the PNG.
    sample: a `validation.Sample`; the first 40 are shown.
    num_examples: number of those that the sample was drawn from.
    class_names: name of each class; None, or too few: its index.

  Returns:
    The path of the plot.
  """
  wrong = (sample.label >= 0) & (sample.label != sample.predicted)
  order = np.lexsort((sample.label < 0, ~wrong))  # Unlabelled ones come last.
  shown = type(sample)(*(array[order] for array in sample))
  captions = [
    predicting.caption(*each, class_names)
    for each in zip(shown.label, shown.predicted, shown.confidence)
  ]
  return drawing.grid(
    path,
    shown.image,
    captions,
    _score(shown),
    f'A random sample of {num_examples:,} test images, mistakes first; '
    'per cent: confidence in the predicted class.',
    wrong[order].tolist(),
  )


def best_step(records):
  """Returns the step of the best evaluation, the first of equals, or None."""
  scores = {}
  for record in records:
    if record['split'] == 'eval' and record.keys() & {'accuracy', 'loss'}:
      score = metrics.score(record)
      if all(map(math.isfinite, score)):
        scores.setdefault(record['step'], score)
  return max(scores, key=scores.get) if scores else None


def _note(workdir):
  if not (workdir / recipes.FILE).exists():
    return ''
  return training_note(recipes.load(str(workdir / recipes.FILE)).data)


def training_note(data):
  """Returns what a reader of the curves has to know of the training images.

  Args:
    data: the part `data` of the run's configuration.
  """
  kinds = mixing.kinds(data)
  facts = [f'images are mixed ({", ".join(kinds)})'] if kinds else []
  facts += ['classes are balanced'] if data.balance else []
  if not facts:
    return ''
  return (
    f'In training {" and ".join(facts)}: loss and accuracy of train are not '
    'comparable with those of eval.'
  )


def _points(records, split, name):
  """Returns the steps and the values of a metric, two arrays."""
  found = {
    record['step']: record[name]
    for record in records
    if record['split'] == split and name in record
  }
  steps = sorted(found)
  return np.array(steps), np.array([found[step] for step in steps], float)


def _train_line(axes, name, steps, values):
  if not steps.size:
    return
  style = {'color': drawing.BLUE, 'linewidth': 1.4}
  if len(steps) < _SMOOTHED:
    label = f'train  {_shown(name, values[-1])}'
    # A point among gaps is no line, and would not be seen.
    axes.plot(steps, values, label=label, marker='o', ms=2.5, **style)
    return
  window = 1 + 2 * (len(steps) // _SMOOTHED)
  smooth = _moving_average(values, window)
  label = f'train  {_shown(name, smooth[-1])}  (mean of {window} points)'
  axes.plot(steps, values, **{**style, 'alpha': 0.3, 'linewidth': 0.8})
  axes.plot(steps, smooth, label=label, **style)


def _moving_average(values, window):
  """Returns the mean of the finite values around each; nan where it is nan."""
  half = window // 2
  return np.array(
    [
      np.nanmean(values[max(place - half, 0) : place + half + 1])
      if math.isfinite(value)
      else math.nan
      for place, value in enumerate(values)
    ]
  )


def _eval_line(axes, name, steps, values, best):
  if not steps.size:
    return
  axes.plot(
    steps,
    values,
    label=f'eval  {_shown(name, values[-1])}',
    color=drawing.RED,
    linewidth=1.8,
    marker='o',
    ms=4 if len(steps) <= 40 else 0,
  )
  if best in steps:
    value = values[steps == best][0]
    axes.axvline(best, color=drawing.INK, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.plot(
      [best],
      [value],
      label=f'best step {best:,}  {_shown(name, value)}',
      color=drawing.INK,
      linestyle='none',
      marker='D',
      ms=6,
      markerfacecolor='none',
      zorder=4,
      clip_on=False,
    )


def _shown(name, value):
  return f'{value:.1%}' if name == 'accuracy' else f'{value:.3f}'


def _style(axes, name):
  axes.set_title(
    name.capitalize(),
    loc='left',
    color=drawing.INK,
    fontsize=12,
    fontweight='bold',
  )
  axes.set_xlabel('step', color=drawing.INK)
  axes.grid(axis='y', color=drawing.FAINT, linewidth=0.8)
  axes.set_axisbelow(True)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(drawing.FAINT)
  axes.tick_params(length=0, labelcolor=drawing.INK)
  axes.set_xlim(left=0)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
  if axes.lines:
    axes.legend(
      labelcolor=drawing.INK,
      fontsize=9,
      facecolor='white',
      edgecolor='none',
      framealpha=0.9,
    )


def _score(sample):
  """Returns the title: how many of a sample are correct."""
  known = sample.label >= 0
  count, num_right = known.sum(), (sample.label == sample.predicted).sum()
  if not count:
    return f'{len(known)} images without labels'
  fraction = num_right / count
  return f'{num_right} of {count} sampled images recognised ({fraction:.1%})'
