"""Few-shot accuracy of a linear classifier on frozen features.

ViT paper, section 4.1: regularised least squares from features to targets in
{-1, 1}^classes, in closed form. What the paper leaves open is as in big_vision:
features are whitened by the mean and standard deviation of the few-shot
examples, a constant column of 100 is the bias, and the penalty is 2^10.
"""

from typing import NamedTuple

import numpy as np

from vit_jax import errors
from vit_jax.evaluation import features, metrics

SHOTS = (1, 5, 10, 25)  # Examples of each class.
NUM_SEEDS = 3  # Few-shot subsets, over which results are averaged.
PENALTY = 2.0**10
BIAS = 100.0  # So large that the penalty hardly affects it.

_TINY = 1e-5  # Keeps constant features finite.
_ROWS = 8192  # Scored at a time.


class Classifier(NamedTuple):
  """Maps features [examples, width] to scores, by `score`.

  mean, deviation: float64 [width].
  kernel: float64 [width + 1, classes]; its last row is for the bias.
  """

  mean: np.ndarray
  deviation: np.ndarray
  kernel: np.ndarray


def evaluate(embed, train, test, subsets, shots=SHOTS):
  """Measures classifiers fitted to a few examples per class.

  Args:
    embed: maps a batch on the device to features, float32 [batch, width].
    train: batches on the device with every example of the subsets.
    test: batches on the device to measure on.
    subsets: what `draw` returned, for each seed; its numbers are the `index` of
      examples of `train`.
    shots: numbers of examples per class, each at most as many as were drawn.

  Returns:
    {'fewshot_5': accuracy of 5 shots, mean over the subsets,
     'fewshot_5_std': its standard deviation, if there are several; and so on}.

  Raises:
    UserError: no test example has a label.
  """
  train_set = features.collect(embed, train)
  test_set = features.collect(embed, test).labelled()
  result = {}
  for count in shots:
    accuracies = [
      _accuracy(train_set, test_set, drawn[:, :count], len(drawn))
      for drawn in subsets
    ]
    result |= metrics.over_seeds(f'fewshot_{count}', accuracies)
  return {**result, 'fewshot_num_examples': len(test_set.label)}


def draw(labels, num_classes, count, seed):
  """Draws a few-shot subset: positions of examples, int64 [classes, count].

  A subset of fewer examples is a prefix of one of more. For a data set in the
  same order, they are those that big_vision draws.

  Args:
    labels: class index of each example, int [examples]; -1 where there is none.
    num_classes: number of classes.
    count: examples per class.
    seed: of the subset, at least 0.

  Raises:
    UserError: a class has fewer examples.
  """
  found = np.bincount(labels[labels >= 0], minlength=num_classes)
  if found.min() < count:
    scarce = int(found.argmin())
    raise errors.UserError(
      f'{count} shots need {count} examples of each class, and class {scarce} '
      f'has {found[scarce]} in the training split. Give fewer, as '
      f'--shots={",".join(map(str, _that_fit(found.min())))}, or a larger '
      '--train_split.'
    )
  rng = np.random.default_rng(seed)
  return np.stack(
    [
      rng.permutation(np.flatnonzero(labels == number))[:count]
      for number in range(num_classes)
    ]
  )


def fit(features, label, num_classes, penalty=PENALTY):
  """Fits a `Classifier` by regularised least squares.

  Args:
    features: features, float [examples, width].
    label: class index of each, int [examples].
    num_classes: number of classes.
    penalty: on the squared length of the kernel, bias included.
  """
  features = features.astype(np.float64)
  mean, deviation = features.mean(0), features.std(0) + _TINY
  x = _with_bias((features - mean[None]) / deviation[None])
  y = np.where(label[:, None] == np.arange(num_classes)[None], 1.0, -1.0)
  examples, width = x.shape
  if examples >= width:
    kernel = np.linalg.solve(x.T @ x + penalty * np.eye(width), x.T @ y)
  else:  # The same, by the smaller system.
    kernel = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(examples), y)
  return Classifier(mean, deviation, kernel)


def score(classifier, features):
  """Returns scores, float64 [examples, classes], of features."""
  white = (features - classifier.mean[None]) / classifier.deviation[None]
  return _with_bias(white) @ classifier.kernel


def _accuracy(train_set, test_set, drawn, num_classes):
  # Examples that could not be read are in no batch.
  rows = np.flatnonzero(np.isin(train_set.index, drawn))
  classifier = fit(train_set.features[rows], train_set.label[rows], num_classes)
  num_right = 0
  for start in range(0, len(test_set.label), _ROWS):
    part = slice(start, start + _ROWS)
    best = score(classifier, test_set.features[part]).argmax(-1)
    num_right += int(np.sum(best == test_set.label[part]))
  return num_right / len(test_set.label)


def _with_bias(x):
  return np.pad(x, ((0, 0), (0, 1)), constant_values=BIAS)


def _that_fit(count):
  return [shots for shots in SHOTS if shots <= count] or [1]
