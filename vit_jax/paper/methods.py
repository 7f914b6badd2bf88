"""How a printed number can be reproduced, if at all.

A method says what it needs; `measure` applies it, and `costs` tells its price.
"""

import dataclasses
from collections.abc import Callable

JFT = 'JFT-300M is not public'


@dataclasses.dataclass(frozen=True)
class Computed:
  """By arithmetic, which needs neither data nor weights."""

  value: Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """By measuring released weights as they are.

  Attributes:
    checkpoint: a name of the catalogue.
    dataset: a key of `datasets.DATASETS`.
    evaluator: a name of `evaluation.EVALUATORS`.
  """

  checkpoint: str
  dataset: str
  evaluator: str = 'classification'


@dataclasses.dataclass(frozen=True)
class Transferred:
  """By fine-tuning: the best of a grid on held-out data, then on all of it.

  Attributes:
    recipe: of the fine-tuning, 'path:knob=value,...', without `init`.
    start: a name of the catalogue, or the recipe of a pre-training.
    evaluator: a name of `evaluation.EVALUATORS`.
    seeds: how many final runs are averaged.
  """

  recipe: str
  start: str
  evaluator: str = 'classification'
  seeds: int = 3

  @property
  def pretraining(self):
    """The recipe to start from, or None: weights were released."""
    return self.start if self.start.startswith('configs/') else None


@dataclasses.dataclass(frozen=True)
class Averaged:
  """As the mean of other numbers."""

  parts: tuple


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A figure, from released weights, by `vit_jax analyze`.

  Attributes:
    kind: what to draw; the command's first word.
    checkpoint: a name of the catalogue.
    images: how many images it is of; 0: of the weights alone.
  """

  kind: str
  checkpoint: str
  images: int = 0


@dataclasses.dataclass(frozen=True)
class Benchmarked:
  """By timing this machine.

  Attributes:
    command: what does it.
  """

  command: str


@dataclasses.dataclass(frozen=True)
class Refused:
  """Not at all.

  Attributes:
    reason: what is missing in the world.
    analogue: what asks the same question of public data; '': nothing does.
  """

  reason: str
  analogue: str = ''


@dataclasses.dataclass(frozen=True)
class Quoted:
  """Not by this project: the number is of another one.

  Attributes:
    source: where it comes from.
  """

  source: str
