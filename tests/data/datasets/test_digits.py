"""The digits of the package are scikit-learn's, bit for bit."""

import numpy as np
from sklearn import datasets

from vit_jax.data.datasets import digits


def test_digits_are_those_of_scikit_learn_bit_for_bit():
  images, labels = digits.load()
  theirs = datasets.load_digits()
  assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
  np.testing.assert_array_equal(images, theirs.images)
  np.testing.assert_array_equal(labels, theirs.target)
  # What they become when they are prepared, as before they came with us.
  ours, before = (
    np.rint(pixels * (255 / 16)).astype(np.uint8)
    for pixels in (images, theirs.images)
  )
  assert ours.tobytes() == before.tobytes()
