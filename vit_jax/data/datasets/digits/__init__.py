"""1,797 handwritten digits of 8 x 8 pixels, which need no download.

The test part of Alpaydin & Kaynak's `Optical Recognition of Handwritten Digits`
(UCI, 1998), as scikit-learn distributes it: see README.md and LICENSE here.
"""

import pathlib

import numpy as np

_FILE = pathlib.Path(__file__).parent / 'digits.npz'


def load():
  """Returns images, uint8 [1797, 8, 8] from 0 to 16, and labels, ints [1797].

  In the order of scikit-learn; the last fifth was written by other people.
  """
  with np.load(_FILE, allow_pickle=False) as arrays:
    return arrays['images'], arrays['labels'].astype(np.int64)
