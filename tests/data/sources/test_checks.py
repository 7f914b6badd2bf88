"""What can be known of a source before it is used."""

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.data import bad_examples
from vit_jax.data.sources import arrays, checks, mixture


class Records:
  """Examples whose labels are in their records, of which some are broken."""

  def __init__(self, labels, error=None):
    self._labels = labels
    self._error = error or errors.UserError('corrupt')

  def __len__(self):
    return len(self._labels)

  def __getitem__(self, index):
    if self._labels[index] is None:
      raise self._error
    return {'label': self._labels[index]}


def of_arrays(*labels):
  images = np.zeros((len(labels), 2, 2, 3), np.uint8)
  return arrays.ArraySource(images, np.array(labels), num_classes=2)


@pytest.mark.parametrize(
  ('source', 'wanted'),
  [
    (of_arrays(-1, -1), False),
    (of_arrays(-1, 1), True),
    (Records([-1, None, -1]), False),
    (Records([None, -1, 0]), True),
    (Records([None, 0], OSError('gone')), True),
    (mixture.join([of_arrays(-1), of_arrays(0)], [1, 1]), True),
    (mixture.join([of_arrays(-1), of_arrays(-1)], [1, 1]), False),
  ],
)
def test_a_split_has_labels_if_one_example_has(source, wanted):
  assert checks.has_labels(source) == wanted


def test_a_broken_shard_is_told_at_once():
  shard = Records([None, 0], bad_examples.BrokenShardError('cut off'))
  with pytest.raises(bad_examples.BrokenShardError):
    checks.has_labels(shard)


def test_only_files_are_opened():
  assert checks.unreadable(of_arrays(0, 1)) == ([], 0)
