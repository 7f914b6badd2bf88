"""Masked sums and means, merged over batches and processes.

A metric is carried as a sum over real examples and their count, and divided
only when it is read, so padding and uneven batches change nothing.
"""

import statistics

import flax
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Mean:
  """A sum and the number of examples it is over; both float32 scalars."""

  total: jax.Array
  count: jax.Array

  @classmethod
  def of(cls, values, mask=None):
    """Sums values [batch] over the examples whose mask [batch] is True."""
    mask = jnp.ones(values.shape) if mask is None else mask
    mask = mask.astype(jnp.float32)
    total = jnp.sum(jnp.where(mask > 0, values.astype(jnp.float32), 0) * mask)
    return cls(total, jnp.sum(mask))

  def merge(self, other):
    return Mean(self.total + other.total, self.count + other.count)

  def compute(self):
    """Returns the mean, nan where no example was counted."""
    return float(self.total) / float(self.count) if self.count else float('nan')


def merge(metrics, others):
  """Adds {name: Mean} to {name: Mean}, name by name."""
  return {name: metrics[name].merge(others[name]) for name in metrics}


def compute(metrics):
  """Returns {name: float} of {name: Mean}."""
  return {name: metric.compute() for name, metric in metrics.items()}


def score(values):
  """Returns a tuple that is larger for a better model.

  It is the accuracy, if there is one, and minus the loss: of two models that
  are right as often, the better one is surer where it is right.

  Args:
    values: {name: float} of an evaluation.
  """
  signs = {'accuracy': 1, 'loss': -1}
  return tuple(signs[name] * values[name] for name in signs if name in values)


def over_seeds(name, values):
  """Returns {name: mean, name_std: standard deviation} of a few runs.

  It is the sample standard deviation, sqrt(sum (x - mean)^2 / (n - 1)); a
  single run has none.
  """
  mean = statistics.fmean(values)
  if len(values) == 1:
    return {name: mean}
  return {name: mean, f'{name}_std': statistics.stdev(values)}
