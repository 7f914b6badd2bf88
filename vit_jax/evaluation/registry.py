"""The evaluators by name, and what each of them reads of a data set.

`EVALUATORS[name](target)` finds and checks the data, so that mistakes show
before anything is computed, and returns a `PreparedEvaluator`.
"""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from vit_jax import errors, plugins
from vit_jax.config import schema
from vit_jax.data import transforms
from vit_jax.data.datasets import class_names
from vit_jax.data.sources import real_labels, subset
from vit_jax.data.transforms import crops
from vit_jax.evaluation import (
  classification,
  fewshot,
  knn,
  per_class,
  per_class_files,
  predictions,
  real,
)
from vit_jax.weights.files import download

# Few-shot training splits that are large enough; the whole is far larger.
_FEWSHOT_SPLITS = {'imagenet2012': 'train[:65000]'}
_FEWSHOT_SCALE = 8 / 7  # 256 pixels, of which 224 are taken.


class PreparedEvaluator(NamedTuple):
  """An evaluator whose data have been found.

  Attributes:
    measure: maps predict and embed, both of a batch, to {name: float}.
    splits: what it reads, by use.
  """

  measure: Callable
  splits: dict


def _classification(target):
  split = target.split
  source = target.classified(split)

  def measure(predict, _):
    return classification.evaluate(predict, target.batches(source))

  return PreparedEvaluator(measure, {'split': split})


def _real(target):
  count = real_labels.NUM_CLASSES
  places = target.match(count, class_names.imagenet(count))
  labels = real_labels.read(fetch_real_labels())
  labels = np.where(labels < 0, labels, np.array(places, np.int32)[labels])
  data = target.config.data
  source = real_labels.build(data, target.split, len(labels))

  def measure(predict, _):
    return real.evaluate(predict, target.batches(source), labels)

  return PreparedEvaluator(measure, {'split': target.split})


def _fewshot(target):
  data, shots = target.config.data, target.options.shots
  usual = _FEWSHOT_SPLITS.get(data.dataset, data.train_split)
  train_split = target.options.train_split or usual
  train = target.source(train_split)
  test = target.source(target.split)
  _check_classes(train, test)
  labels = subset.labels(train)
  draws = [
    fewshot.draw(labels, train.num_classes, max(shots), seed)
    for seed in range(fewshot.NUM_SEEDS)
  ]
  drawn, places = np.unique(np.stack(draws), return_inverse=True)
  places = places.reshape(np.shape(draws))
  chain = _fewshot_chain(target)

  def measure(_, embed):
    return fewshot.evaluate(
      embed,
      target.batches(subset.Subset(train, drawn), chain),
      target.batches(test, chain),
      places,
      shots,
    )

  return PreparedEvaluator(
    measure, {'split': target.split, 'train_split': train_split}
  )


def _knn(target):
  data = target.config.data
  train = target.source(data.train_split)
  test = target.source(target.split)
  _check_classes(train, test)
  knn.check(len(train))

  def measure(_, embed):
    return knn.evaluate(
      embed,
      target.batches(train),
      target.batches(test),
      train.num_classes,
    )

  return PreparedEvaluator(
    measure, {'split': target.split, 'train_split': data.train_split}
  )


def _per_class(target):
  split = target.split
  source = target.classified(split)
  names = target.card.class_names and target.card.names()
  folder = target.options.output_dir
  if folder:
    per_class_files.check(folder)

  def measure(predict, _):
    found = predictions.collect(predict, target.batches(source))
    confusion = per_class.Confusion.of(found, target.num_classes)
    if folder and not jax.process_index():
      name = f'{pathlib.Path(target.config.data.dataset).name} ({split})'
      per_class_files.write(
        folder,
        confusion,
        found,
        source,
        target.chain,
        name,
        names or source.class_names,
      )
    return per_class.evaluate(confusion)

  return PreparedEvaluator(measure, {'split': split})


EVALUATORS = plugins.Registry(
  'evaluator',
  {
    'classification': _classification,
    'per_class': _per_class,
    'real': _real,
    'fewshot': _fewshot,
    'knn': _knn,
  },
)


def _fewshot_chain(target):
  """Returns the transforms that few-shot results of papers are measured with.

  They squash the image to 8/7 of the size and take the centre. It is decoded
  and turned as the card of the weights says.
  """
  rows, columns = schema.image_size(target.config.data)
  crop = crops.Stretch(rows, columns, scale=_FEWSHOT_SCALE)
  prepared = target.card.preprocessing
  return (
    transforms.DecodeCrop(
      crop, prepared.exif_orientation, exact_jpeg=prepared.exact_jpeg
    ),
  )


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


def _check_classes(train, test):
  if train.num_classes != test.num_classes:
    raise errors.UserError(
      f'The training split has {train.num_classes} classes and the split to '
      f'measure on has {test.num_classes}; they must have the same.'
    )
