"""A prediction is right when it is among the labels of its image."""

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.evaluation import real

# Of five images: one label, two, none, three, one.
LABELS = np.array(
  [[2, -1, -1], [0, 3, -1], [-1, -1, -1], [1, 2, 3], [0, -1, -1]], np.int32
)


def batches(number, best, size):
  for start in range(0, len(number), size):
    part = slice(start, start + size)
    missing = size - len(number[part])
    yield {
      'image': np.eye(4, dtype=np.float32)[np.pad(best[part], (0, missing))],
      'label': np.pad(number[part], (0, missing)).astype(np.int32),
      'mask': np.arange(size) < size - missing,
    }


def predict(batch):
  return batch['image']


@pytest.mark.parametrize('size', [1, 2, 5, 8])
def test_five_images_by_hand(size):
  number = np.array([3, 0, 4, 1, 2])  # In another order than the labels.
  best = np.array([2, 1, 0, 3, 0])  # Right, wrong, right, right, not counted.
  result = real.evaluate(predict, batches(number, best, size), LABELS)
  assert result == {'real_accuracy': 0.75, 'real_num_examples': 4}


def test_results_equal_a_count_in_python():
  rng = np.random.default_rng(0)
  number, best = rng.permutation(5), rng.integers(0, 4, 5)
  result = real.evaluate(predict, batches(number, best, 3), LABELS)
  lists = [[label for label in row if label >= 0] for row in LABELS]
  right = [b in lists[n] for n, b in zip(number, best) if lists[n]]
  assert result['real_accuracy'] == pytest.approx(np.mean(right))


def test_images_without_number_count_for_nothing():
  number, best = np.array([0, -1, -1]), np.array([2, 2, 2])
  result = real.evaluate(predict, batches(number, best, 4), LABELS)
  assert result == {'real_accuracy': 1.0, 'real_num_examples': 1}


def test_nothing_to_count_is_a_user_error():
  for each in [], batches(np.array([2]), np.array([0]), 2):
    with pytest.raises(errors.UserError, match='None of the images'):
      real.evaluate(predict, each, LABELS)
