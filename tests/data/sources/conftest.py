import numpy as np
import pytest


@pytest.fixture
def images_and_labels():
  """Reads all examples of a source."""

  def images_and_labels(source):
    examples = [source[i] for i in range(len(source))]
    images = np.stack([example['image'] for example in examples])
    return images, np.array([example['label'] for example in examples])

  return images_and_labels
