"""What tests of evaluators that look at features share."""

import numpy as np
import pytest


@pytest.fixture
def batches():
  """Cuts features and their labels into batches, the last of them padded."""

  def batches(x, label, size=16):
    for start in range(0, len(x), size):
      part = slice(start, start + size)
      missing = size - len(x[part])
      yield {
        'image': np.pad(x[part], ((0, missing), (0, 0))),
        'label': np.pad(label[part], (0, missing)),
        'index': np.arange(start, start + size, dtype=np.int32),
        'mask': np.arange(size) < size - missing,
      }

  return batches


@pytest.fixture
def embed():
  """The features of a batch are its images."""
  return lambda batch: batch['image']
