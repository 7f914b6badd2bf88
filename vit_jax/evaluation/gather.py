"""What was measured of each example, gathered on every host."""

import numpy as np
from jax.experimental import multihost_utils

from vit_jax import errors


def examples(measured):
  """Returns the rows of all batches, by index and without padding.

  All processes call it with their batches, and each gets the whole.

  Args:
    measured: iterable of (index, mask, *values), arrays [batch, ...] on the
      devices, where index and mask are those of a batch; the last may be
      padded, and examples may come in any order.

  Returns:
    A list of NumPy arrays: the indices, increasing, and then the values.

  Raises:
    UserError: there is no batch.
  """
  fetched, pending = [], None
  for arrays in measured:
    if pending is not None:  # The device is at the next batch by now.
      fetched.append(_fetch(pending))
    pending = arrays
  if pending is not None:
    fetched.append(_fetch(pending))
  if not fetched:
    raise errors.UserError('There is no example to evaluate on.')
  index, *values = map(np.concatenate, zip(*fetched))
  order = np.argsort(index, kind='stable')
  return [array[order] for array in (index, *values)]


def _fetch(arrays):
  """Returns index and values without padding, on every host."""
  index, mask, *values = multihost_utils.process_allgather(
    tuple(arrays), tiled=True
  )
  real = np.asarray(mask)
  return [np.asarray(array)[real] for array in (index, *values)]
