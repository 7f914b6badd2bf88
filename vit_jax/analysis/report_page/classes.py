"""How well a run recognises each class, by an evaluation of its checkpoint."""

import itertools
import sys
from typing import Any, NamedTuple

import jax
import numpy as np

from vit_jax import errors
from vit_jax.analysis import pages
from vit_jax.config import schema
from vit_jax.data import names as spelling
from vit_jax.data import transforms
from vit_jax.data.sources import subset
from vit_jax.evaluation import confusion_figure, per_class
from vit_jax.evaluation import predictions as predicting
from vit_jax.evaluation import target as targets
from vit_jax.sharding import mesh as meshes

MAX_CLASSES = 25  # Of the matrix; of more, those that are most confused.
MAX_PAIRS = 10  # Of classes that are confused, in a list.
MAX_MISTAKES = 48  # Pictures,
MAX_SIDE = 160  # of so many pixels.
_MAX_NAME = 80  # Letters of a name of a class.


class Found(NamedTuple):
  """An evaluation.

  Attributes:
    predictions: `predictions.Predictions`.
    confusion: `per_class.Confusion`.
    names: of the classes.
    source: that was evaluated, as `predictions` number it.
    chain: transforms of its images.
    step: of the checkpoint.
    split: name.
    total: examples of the split.
  """

  predictions: Any
  confusion: Any
  names: tuple
  source: Any
  chain: tuple
  step: int | None
  split: str
  total: int


class Measured(NamedTuple):
  """`found`, a `Found`; or None and `reason`, a text that says why."""

  found: Found | None
  reason: str = ''


def measure(workdir, config, num_images=None, batch_size=None):
  """Evaluates the newest checkpoint of a run on its evaluation split.

  Args:
    workdir: folder of the run.
    config: of the run.
    num_images: at most, a random sample; None: the whole split.
    batch_size: over all devices; None: that of the run, but no more than
      released weights are evaluated with.

  Returns:
    A `Measured`: what can't be evaluated is told, and is no error.
  """
  if config.objective.name != 'classification':
    return Measured(
      None, f'The objective is {config.objective.name}: no classes are learnt.'
    )
  try:
    options = targets.EvalOptions(batch_size=batch_size or _batch_size(config))
    return Measured(_evaluated(targets.of_run(workdir, options), num_images))
  except (errors.UserError, OSError, jax.errors.JaxRuntimeError) as error:
    reason = errors.shown(error)
    print(f'not evaluated: {reason}', file=sys.stderr)
    return Measured(None, reason)


def _batch_size(config):
  sizes = schema.mesh_sizes(config.mesh, len(meshes.devices()))
  most = targets.BATCH_SIZE * sizes['data'] * sizes['fsdp']
  return min(config.run.eval_batch_size or config.run.batch_size, most)


def _evaluated(target, num_images):
  source = target.classified(target.split)
  total = len(source)
  if num_images is not None and num_images < total:
    rng = np.random.default_rng(target.config.seed)
    drawn = np.sort(rng.choice(total, num_images, replace=False))
    source = subset.Subset(source, drawn)
  print(
    f'evaluating {len(source):,} of {total:,} images; --num_images=N draws '
    'some of them, --evaluate=false leaves it out',
    file=sys.stderr,
  )
  params, metadata = target.load()
  predict, _ = target.functions(params)
  found = predicting.collect(predict, target.batches(source))
  return Found(
    found,
    per_class.Confusion.of(found, target.num_classes),
    _names(target.card, source),
    source,
    target.chain,
    metadata.get('step'),
    target.split,
    total,
  )


def _names(card, source):
  """Returns a name for each class, of the card, the data, or its number."""
  names = card.class_names and card.names()
  if not names and source.class_names:
    names = tuple(map(spelling.shown, source.class_names))[: card.num_classes]
  names = tuple(names or ())
  missing = range(len(names), card.num_classes)
  whole = (*names, *(f'class {index}' for index in missing))
  return tuple(errors.shown(name)[:_MAX_NAME] for name in whole)


# For the page -----------------------------------------------------------------


def table(measured):
  """Returns {'reason'}, or of each class what `per_class.PerClass` has.

  There the accuracy of each is 'accuracy_of', and 'accuracy' that of all.
  """
  if measured.found is None:
    return {'reason': measured.reason}
  found = measured.found
  of = per_class.PerClass.of(found.confusion)._asdict()
  of['accuracy_of'] = of.pop('accuracy')
  num_seen = len(found.predictions.label)
  sampled = ', drawn at random' if num_seen < found.total else ''
  step = '' if found.step is None else f'Step {found.step:,}, '
  return {
    'told': f'{step}{num_seen:,} labelled images of {found.total:,} of split '
    f'{spelling.shown(found.split)}{sampled}.',
    'names': found.names,
    'summary': per_class.evaluate(found.confusion),
    'accuracy': float(
      (found.predictions.label == found.predictions.predicted).mean()
    ),
    **of,
  }


def confusion(measured):
  """Returns counts of the classes shown, and of what they were taken for.

  Returns:
    None: not evaluated; else {'classes': indices, 'names', 'counts' [shown,
    shown], or a column more: all others, 'totals': examples of each,
    'num_classes', 'pairs': the most frequent mistakes}.
  """
  if measured.found is None:
    return None
  found = measured.found
  classes = confusion_figure.most_confused(found.confusion, MAX_CLASSES)
  counts = confusion_figure.matrix(found.confusion, classes)
  return {
    'classes': classes,
    'names': [found.names[index] for index in classes.tolist()],
    'counts': counts,
    'totals': counts.sum(1),
    'num_classes': found.confusion.num_classes,
    'pairs': _pairs(found),
  }


def _pairs(found):
  totals = per_class.PerClass.of(found.confusion).count
  rows = zip(*(each.tolist() for each in found.confusion.mistakes()))
  return [
    {
      'true': found.names[true],
      'predicted': found.names[predicted],
      'count': count,
      'total': totals[true],
    }
    for true, predicted, count in itertools.islice(rows, MAX_PAIRS)
  ]


def mistakes(measured):
  """Returns the most confident mistakes, with pictures.

  Returns:
    None: not evaluated; else {'count': all mistakes, 'rows': [{'picture',
    'where', 'true', 'predicted', 'confidence', 'true_probability'}]}; the
    picture of an image that can't be read now is None.
  """
  if measured.found is None:
    return None
  found = measured.found
  worst = found.predictions.worst(MAX_MISTAKES)
  wrong = found.predictions.label != found.predictions.predicted
  rows = []
  for index, label, predicted, confidence, of_true in zip(
    *(each.tolist() for each in worst)
  ):
    rows.append(
      {
        'picture': _picture(found, index),
        'where': errors.shown(spelling.shown(found.source.where(index))),
        'true': found.names[label],
        'predicted': found.names[predicted],
        'confidence': confidence,
        'true_probability': of_true,
      }
    )
  return {'count': int(wrong.sum()), 'rows': rows}


def _picture(found, index):
  try:
    image = transforms.apply(found.chain, found.source[index]['image'])
  except (errors.UserError, OSError):  # It was there a moment ago.
    return None
  return pages.picture(image, MAX_SIDE)
