"""How well each class is recognised, and which it is taken for."""

import itertools
from typing import NamedTuple

import numpy as np


class Confusion(NamedTuple):
  """The confusion matrix: how often each class was predicted for each.

  Only counts above zero are kept, by true and then by predicted class: of
  21,843 classes a matrix would take gigabytes.

  true, predicted, count: int64 [pairs].
  num_classes: number of classes.
  """

  true: np.ndarray
  predicted: np.ndarray
  count: np.ndarray
  num_classes: int

  @classmethod
  def of(cls, predictions, num_classes):
    """Counts the `predictions.Predictions`."""
    pairs = predictions.label.astype(np.int64) * num_classes
    pairs, count = np.unique(pairs + predictions.predicted, return_counts=True)
    return cls(*divmod(pairs, num_classes), count, num_classes)

  def rows(self):
    """Yields the rows of the matrix, each int64 [classes]."""
    starts = np.searchsorted(self.true, np.arange(self.num_classes + 1))
    for start, end in itertools.pairwise(starts):
      row = np.zeros(self.num_classes, np.int64)
      row[self.predicted[start:end]] = self.count[start:end]
      yield row

  def mistakes(self):
    """Returns true, predicted, count of mistakes, the most frequent first."""
    wrong = np.flatnonzero(self.true != self.predicted)
    wrong = wrong[np.argsort(-self.count[wrong], kind='stable')]
    return self.true[wrong], self.predicted[wrong], self.count[wrong]


class PerClass(NamedTuple):
  """What is measured of each class; nan where nothing can be said.

  count: int64 [classes]; examples of the class,
  predicted: predictions of it,
  correct: and those of them that are correct.
  accuracy: float64 [classes]; fraction of its examples that are recognised,
    that is its recall,
  precision: fraction of its predictions that are correct,
  f1: and the harmonic mean of the two.
  """

  count: np.ndarray
  predicted: np.ndarray
  correct: np.ndarray
  accuracy: np.ndarray
  precision: np.ndarray
  f1: np.ndarray

  @classmethod
  def of(cls, confusion):
    """Sums up a `Confusion`."""
    is_right = confusion.true == confusion.predicted
    count, predicted, correct = (
      _sums(classes, confusion.count * weight, confusion.num_classes)
      for classes, weight in (
        (confusion.true, 1),
        (confusion.predicted, 1),
        (confusion.true, is_right),
      )
    )
    with np.errstate(invalid='ignore'):  # 0 / 0 is nan.
      return cls(
        count,
        predicted,
        correct,
        accuracy=correct / count,
        precision=correct / predicted,
        f1=2 * correct / (count + predicted),
      )


def evaluate(confusion):
  """Returns what is reported of a `Confusion`.

  Returns:
    {'mean_per_class_accuracy': mean over the classes that have examples of the
       fraction of them that is recognised, as papers report on pets and flowers
       (balanced accuracy),
     'worst_class_accuracy': the least of these,
     'macro_f1': mean of F1 over the classes that have examples or predictions,
     'per_class_num_classes': number of classes that have examples,
     'per_class_num_examples': and of these examples}.
  """
  table = PerClass.of(confusion)
  return {
    'mean_per_class_accuracy': float(np.nanmean(table.accuracy)),
    'worst_class_accuracy': float(np.nanmin(table.accuracy)),
    'macro_f1': float(np.nanmean(table.f1)),
    'per_class_num_classes': int((table.count > 0).sum()),
    'per_class_num_examples': int(table.count.sum()),
  }


def _sums(classes, counts, num_classes):
  sums = np.zeros(num_classes, np.int64)
  np.add.at(sums, classes, counts)
  return sums
