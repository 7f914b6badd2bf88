"""The evaluators by name, and what each of them reads of a data set.

`EVALUATORS[name](subject)` finds and checks the data, so that mistakes show
before anything is computed, and returns what is `Ready`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import transforms
from vit_jax.data.sources import real_labels, subset
from vit_jax.data.transforms import crops
from vit_jax.evaluation import classification, fewshot, knn, real
from vit_jax.weights.files import download

# Few-shot training splits that are large enough; the whole is far larger.
_FEWSHOT_SPLITS = {'imagenet2012': 'train[:65000]'}
_FEWSHOT_SCALE = 8 / 7  # 256 pixels, of which 224 are taken.


class Ready(NamedTuple):
  """An evaluator whose data have been found.

  Attributes:
    measure: maps predict and represent, both of a batch, to {name: float}.
    splits: what it reads, by use.
  """

  measure: Callable
  splits: dict


def _classification(subject):
  split = subject.config.data.eval_split
  source = subject.source(split)
  _check_head(subject, source.num_classes)

  def measure(predict, _):
    return classification.evaluate(predict, subject.batches(source))

  return Ready(measure, {'split': split})


def _real(subject):
  _check_head(subject, real_labels.NUM_CLASSES)
  labels = real_labels.read(fetch_real_labels())
  data = subject.config.data
  source = real_labels.build(data, data.eval_split, len(labels))

  def measure(predict, _):
    return real.evaluate(predict, subject.batches(source), labels)

  return Ready(measure, {'split': data.eval_split})


def _fewshot(subject):
  data, shots = subject.config.data, subject.asked.shots
  usual = _FEWSHOT_SPLITS.get(data.dataset, data.train_split)
  train_split = subject.asked.train_split or usual
  train = subject.source(train_split)
  test = subject.source(data.eval_split)
  _check_classes(train, test)
  labels = subset.labels(train)
  draws = [
    fewshot.draw(labels, train.num_classes, max(shots), seed)
    for seed in range(fewshot.NUM_SEEDS)
  ]
  drawn, places = np.unique(np.stack(draws), return_inverse=True)
  places = places.reshape(np.shape(draws))
  chain = _fewshot_chain(data)

  def measure(_, represent):
    return fewshot.evaluate(
      represent,
      subject.batches(subset.Subset(train, drawn), chain),
      subject.batches(test, chain),
      places,
      shots,
    )

  return Ready(measure, {'split': data.eval_split, 'train_split': train_split})


def _knn(subject):
  data = subject.config.data
  train = subject.source(data.train_split)
  test = subject.source(data.eval_split)
  _check_classes(train, test)
  knn.check(len(train))

  def measure(_, represent):
    return knn.evaluate(
      represent,
      subject.batches(train),
      subject.batches(test),
      train.num_classes,
    )

  return Ready(
    measure, {'split': data.eval_split, 'train_split': data.train_split}
  )


EVALUATORS = {
  'classification': _classification,
  'real': _real,
  'fewshot': _fewshot,
  'knn': _knn,
}


def _fewshot_chain(data):
  """Returns the transforms that few-shot results of papers are measured with.

  They squash the image to 8/7 of the size and take the centre.
  """
  rows, columns = schema.image_size(data)
  crop = crops.Squash(rows, columns, scale=_FEWSHOT_SCALE)
  return (transforms.DecodeCrop(crop, data.upright),)


def fetch_real_labels():
  """Returns the path of the file of ImageNet's reassessed labels.

  Raises:
    UserError: it can't be fetched; says where to put it by hand.
  """
  try:
    return download.fetch(real_labels.ADDRESS)
  except download.DownloadError as error:
    raise errors.UserError(
      f'The evaluator "real" needs the reassessed labels. {error}'
    ) from error


def _check_head(subject, num_classes):
  """Raises UserError where the head names other classes than the labels."""
  if subject.num_classes == num_classes:
    return
  data = subject.config.data
  has = f'a head of {subject.num_classes} classes'
  raise errors.UserError(
    f'{subject.name} has {has if subject.num_classes else "no head"}, and '
    f'{data.dataset} ({data.eval_split}) has {num_classes} classes. Give '
    'another --dataset, or --evaluators=fewshot,knn, which need no head.'
  )


def _check_classes(train, test):
  if train.num_classes != test.num_classes:
    raise errors.UserError(
      f'The training split has {train.num_classes} classes and the split to '
      f'measure on has {test.num_classes}; they must have the same.'
    )
