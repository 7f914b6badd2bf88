"""Counts and means of each class equal those of scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from vit_jax import errors
from vit_jax.evaluation import per_class, predictions


def drawn(num_classes, count, accuracy=0.7, seed=0):
  """Returns true and predicted classes; some classes have few, some none."""
  rng = np.random.default_rng(seed)
  p = rng.dirichlet(np.full(num_classes, 0.5))
  label = rng.choice(num_classes, count, p=p)
  other = rng.integers(0, num_classes, count)
  return label, np.where(rng.random(count) < accuracy, label, other)


def found(label, predicted):
  """Returns `Predictions` of these classes; probabilities don't matter."""
  p = np.zeros(len(label), np.float32)
  return predictions.Predictions(
    np.arange(len(label)),
    label.astype(np.int32),
    predicted.astype(np.int32),
    p,
    p,
  )


CASES = [(2, 50), (3, 7), (10, 1000), (101, 300), (5, 1)]


@pytest.mark.parametrize('num_classes, count', CASES)
def test_the_matrix_is_that_of_scikit_learn(num_classes, count):
  label, predicted = drawn(num_classes, count)
  confusion = per_class.Confusion.of(found(label, predicted), num_classes)
  theirs = metrics.confusion_matrix(
    label, predicted, labels=np.arange(num_classes)
  )
  np.testing.assert_array_equal(list(confusion.rows()), theirs)
  assert (confusion.count > 0).all()
  true, guess, times = confusion.mistakes()
  np.fill_diagonal(theirs, 0)
  assert times.sum() == theirs.sum() and (np.diff(times) <= 0).all()
  np.testing.assert_array_equal(theirs[true, guess], times)


@pytest.mark.parametrize('num_classes, count', CASES)
def test_the_table_is_that_of_scikit_learn(num_classes, count):
  label, predicted = drawn(num_classes, count)
  confusion = per_class.Confusion.of(found(label, predicted), num_classes)
  table = per_class.PerClass.of(confusion)
  precision, recall, f1, support = metrics.precision_recall_fscore_support(
    label, predicted, labels=np.arange(num_classes), zero_division=np.nan
  )
  np.testing.assert_array_equal(table.count, support)
  np.testing.assert_allclose(table.accuracy, recall)
  np.testing.assert_allclose(table.precision, precision)
  np.testing.assert_allclose(table.f1, f1)
  np.testing.assert_array_equal(
    table.predicted, np.bincount(predicted, minlength=num_classes)
  )


@pytest.mark.filterwarnings('ignore:y_pred contains classes')
@pytest.mark.filterwarnings('ignore:A single label was found')
@pytest.mark.parametrize('num_classes, count', CASES)
def test_the_means_are_those_of_scikit_learn(num_classes, count):
  label, predicted = drawn(num_classes, count)
  confusion = per_class.Confusion.of(found(label, predicted), num_classes)
  values = per_class.evaluate(confusion)
  assert values == {
    'mean_per_class_accuracy': pytest.approx(
      metrics.balanced_accuracy_score(label, predicted)
    ),
    'worst_class_accuracy': pytest.approx(
      min(np.mean(predicted[label == each] == each) for each in set(label))
    ),
    'macro_f1': pytest.approx(
      metrics.f1_score(label, predicted, average='macro', zero_division=0)
    ),
    'per_class_num_classes': len(set(label)),
    'per_class_num_examples': count,
  }


def test_of_many_classes_only_what_occurs_is_kept():
  label, predicted = drawn(21_843, 5000)
  confusion = per_class.Confusion.of(found(label, predicted), 21_843)
  assert len(confusion.count) <= 5000 and confusion.count.sum() == 5000
  per_class.evaluate(confusion)


@pytest.fixture
def split():
  """Logits and labels of a split, the last of whose batches is padded."""
  rng = np.random.default_rng(3)
  logits = rng.normal(scale=3, size=(45, 6)).astype(np.float32)
  label = rng.integers(0, 6, 45).astype(np.int32)
  label[[0, 17, 44]] = -1
  return logits, label


def test_predictions_are_those_of_numpy_in_the_order_of_the_split(
  split, batches
):
  logits, label = split
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  known = label >= 0
  for size in 16, 45, 7:
    made = list(batches(logits, label, size))
    result = predictions.collect(lambda batch: batch['image'], reversed(made))
    np.testing.assert_array_equal(result.index, np.flatnonzero(known))
    np.testing.assert_array_equal(result.label, label[known])
    np.testing.assert_array_equal(result.predicted, p.argmax(-1)[known])
    np.testing.assert_allclose(result.confidence, p.max(-1)[known], rtol=1e-5)
    own = p[np.arange(45), label][known]
    np.testing.assert_allclose(result.true_probability, own, rtol=1e-5)


def test_the_worst_mistakes_are_the_most_confident(split, batches):
  logits, label = split
  result = predictions.collect(
    lambda batch: batch['image'], batches(logits, label)
  )
  worst = result.worst(10)
  wrong = result.label != result.predicted
  assert len(worst.label) == 10
  assert (worst.label != worst.predicted).all()
  expected = np.sort(result.confidence[wrong])[::-1][:10]
  np.testing.assert_array_equal(worst.confidence, expected)
  assert len(result.worst(1000).label) == wrong.sum()


def test_of_equally_confident_mistakes_the_unlikelier_is_worse():
  ones = np.ones(3, np.float32)
  of_true = np.array([0.2, 0.0, 0.1], np.float32)
  given = predictions.Predictions(
    np.arange(3), np.zeros(3, int), np.ones(3, int), ones, of_true
  )
  assert given.worst(3).index.tolist() == [1, 2, 0]


def test_nothing_labelled_is_a_user_error(batches):
  logits, label = np.zeros((4, 2), np.float32), np.full(4, -1, np.int32)
  for made in [], batches(logits, label):
    with pytest.raises(errors.UserError, match=r'no (labelled )?example'):
      predictions.collect(lambda batch: batch['image'], made)


def test_captions_tell_what_is_predicted_and_how_sure():
  names = ['cat', 'Panthera leo male', 'Panthera leo female']
  assert predictions.caption(0, 0, 0.987, names) == '✓ cat · 99%'
  assert predictions.caption(-1, 0, 1.0, names) == 'cat · 100%'
  assert predictions.caption(0, 4, 0.5, names) == '✗ 4 · 50%\ntrue: cat'
  assert predictions.caption(1, 2, 0.5, names) == (
    '✗ Panth…female · 50%\ntrue: Panth…o male'
  )
