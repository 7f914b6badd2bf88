"""How a printed number can be reproduced, if at all.

A method says what it needs; `measure` applies it, and `costs` its compute.
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
  """By evaluating released weights.

  Attributes:
    checkpoint: a catalogue name.
    dataset: a key of `datasets.DATASETS`.
    evaluator: a name of `registry.EVALUATORS`.
  """

  checkpoint: str
  dataset: str
  evaluator: str = 'classification'


@dataclasses.dataclass(frozen=True)
class Transferred:
  """By fine-tuning: the best of a grid on held-out data, then on all of it.

  Attributes:
    recipe: of the fine-tuning, 'path:knob=value,...', without `init`.
    start: a catalogue name, or the recipe of a pre-training.
    evaluator: a name of `registry.EVALUATORS`.
    seeds: number of final runs, which are averaged.
  """

  recipe: str
  start: str
  evaluator: str = 'classification'
  seeds: int = 3

  @property
  def pretraining(self):
    """The recipe to start from; None: released weights."""
    return self.start if self.start.startswith('configs/') else None


@dataclasses.dataclass(frozen=True)
class Averaged:
  """As the mean of other numbers."""

  parts: tuple


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A figure, from released weights, by `vit_jax analyze`.

  Attributes:
    kind: what to plot; the first argument of the command.
    checkpoint: a catalogue name.
    images: number of input images; 0: it shows the weights alone.
  """

  kind: str
  checkpoint: str
  images: int = 0


@dataclasses.dataclass(frozen=True)
class Benchmarked:
  """By timing this machine.

  Attributes:
    command: that does it.
  """

  command: str


@dataclasses.dataclass(frozen=True)
class Refused:
  """Not at all.

  Attributes:
    reason: what is not available.
    analogue: the closest experiment on public data; '': none.
  """

  reason: str
  analogue: str = ''


@dataclasses.dataclass(frozen=True)
class Quoted:
  """Not by this project: quoted from another source.

  Attributes:
    source: where it comes from.
  """

  source: str
