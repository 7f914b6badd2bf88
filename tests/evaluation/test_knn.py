"""The votes are those of scikit-learn's nearest neighbours."""

import jax
import numpy as np
import pytest
from sklearn import neighbors

from vit_jax import errors
from vit_jax.evaluation import knn

CLASSES = 5


def examples(count, seed):
  rng = np.random.default_rng(seed)
  centres = np.random.default_rng(7).standard_normal((CLASSES, 6))
  label = rng.integers(0, CLASSES, count).astype(np.int32)
  x = centres[label] + rng.standard_normal((count, 6))
  return x.astype(np.float32), label


def reference(x, label, count):
  model = neighbors.KNeighborsClassifier(
    count,
    metric='cosine',
    algorithm='brute',
    weights=lambda distance: np.exp((1 - distance) / 0.07),
  )
  return model.fit(x.astype(np.float64), label)


@pytest.mark.parametrize('count', [1, 3, 20])
def test_votes_are_those_of_scikit_learn(count):
  x, label = examples(90, 0)
  test_features, _ = examples(40, 1)
  found = knn.votes(x, label, test_features, CLASSES, count)
  found = found / found.sum(-1, keepdims=True)
  wanted = reference(x, label, count).predict_proba(
    test_features.astype(np.float64)
  )
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_accuracy_is_that_of_scikit_learn(embed, batches):
  x, label = examples(90, 0)
  test_features, wanted = examples(41, 1)
  label[3], wanted[:2] = -1, -1
  result = knn.evaluate(
    embed, batches(x, label), batches(test_features, wanted), CLASSES
  )
  model = reference(x[label >= 0], label[label >= 0], 20)
  assert result['knn_20'] == pytest.approx(
    model.score(test_features[2:], wanted[2:])
  )
  assert result['knn_num_examples'] == 39


def test_the_nearest_outvotes_two_farther_ones_by_hand():
  # Cosines 1, 0.8 and 0.8: e^0 against 2 e^(-0.2 / 0.07) = 0.115.
  train_features = np.array([[2.0, 0.0], [0.8, 0.6], [0.8, -0.6], [-1.0, 0.0]])
  votes = knn.votes(
    train_features, np.array([0, 1, 1, 2]), train_features[:1] * 5, 3, count=3
  )
  np.testing.assert_allclose(
    votes, [[1, 2 * np.exp(-0.2 / 0.07), 0]], rtol=1e-5
  )


def test_the_pieces_that_are_computed_at_a_time_change_nothing(monkeypatch):
  x, label = examples(50, 0)
  test_features, _ = examples(33, 1)
  whole = knn.votes(x, label, test_features, CLASSES)
  monkeypatch.setattr(knn, '_NUM_PAIRS', 50 * 8)
  before = knn._votes._cache_size()
  np.testing.assert_allclose(
    knn.votes(x, label, test_features, CLASSES), whole, rtol=1e-5
  )
  assert knn._votes._cache_size() == before + 1
  assert isinstance(whole, np.ndarray) and not isinstance(whole, jax.Array)


def test_too_few_training_examples_are_told(embed, batches):
  x, label = examples(25, 0)
  knn.check(20)
  with pytest.raises(errors.UserError, match=r'as many .* there are 19'):
    knn.check(19)
  label[:10] = -1
  with pytest.raises(errors.UserError, match=r'there are 15'):
    knn.evaluate(embed, batches(x, label), batches(x, label), CLASSES)
