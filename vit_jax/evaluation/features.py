"""Features of each image of a split, gathered on the host."""

from typing import NamedTuple

import numpy as np
from jax.experimental import multihost_utils

from vit_jax import errors


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
  fetched, pending = [], None
  for batch in batches:
    arrays = embed(batch), batch['label'], batch['index'], batch['mask']
    if pending is not None:  # The device is at the next batch by now.
      fetched.append(_fetch(pending))
    pending = arrays
  if pending is not None:
    fetched.append(_fetch(pending))
  if not fetched:
    raise errors.UserError('There is no example to evaluate on.')
  features, label, index = map(np.concatenate, zip(*fetched))
  order = np.argsort(index, kind='stable')
  return Features(features[order], label[order], index[order])


def _fetch(arrays):
  """Returns features, label and index without padding, on every host."""
  *values, mask = multihost_utils.process_allgather(arrays, tiled=True)
  real = np.asarray(mask)
  return tuple(np.asarray(value)[real] for value in values)
