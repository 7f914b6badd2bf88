"""Features of each image of a split, gathered on the host."""

from typing import NamedTuple

import numpy as np

from vit_jax import errors
from vit_jax.evaluation import gather


class Features(NamedTuple):
  """Features of the examples of a split, in its order, without padding.

  features: float32 [examples, width].
  label: int32 [examples]; -1 where there is none.
  index: int32 [examples]; position of each in its split, increasing.
  """

  features: np.ndarray
  label: np.ndarray
  index: np.ndarray

  def labelled(self):
    """Returns those that have a label.

    Raises:
      UserError: there are none.
    """
    known = self.label >= 0
    if not known.any():
      raise errors.UserError(
        'There is no labelled example to evaluate on; the split must be one '
        'that has labels.'
      )
    return Features(*(array[known] for array in self))


def collect(embed, batches):
  """Returns the `Features` of all batches; padding is left out.

  All processes call it with their batches, and each gets the whole.

  Args:
    embed: maps a batch on the device to features, float32 [batch, width].
    batches: batches on the device, see vit_jax/data/batch.py; the last may be
      padded, and their examples may come in any order.
  """
  index, features, label = gather.examples(
    (batch['index'], batch['mask'], embed(batch), batch['label'])
    for batch in batches
  )
  return Features(features, label, index)
