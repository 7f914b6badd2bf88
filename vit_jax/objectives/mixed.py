"""An objective that sees its training batches mixed up."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Mixed:
  """The objective given; only its loss is of another batch.

  Attributes:
    objective: has init, loss and predict.
    mix: maps a batch and a key to the batch for the loss.
  """

  objective: Any
  mix: Callable

  def init(self, rng, image_size):
    return self.objective.init(rng, image_size)

  def loss(self, params, batch, rng):
    mix_rng, loss_rng = jax.random.split(rng)
    return self.objective.loss(params, self.mix(batch, mix_rng), loss_rng)

  def predict(self, params, batch):
    return self.objective.predict(params, batch)
