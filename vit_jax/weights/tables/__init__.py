"""Names of parameters in every format; a file for each family of models."""

from collections.abc import Callable
from typing import NamedTuple


class Writer(NamedTuple):
  """How the parameters of a family are written in a format.

  rows: {our path: array} -> rows of `mapping`.
  config: (`card.Card`, `publishing.Sizes`) -> what config.json says of the
    model; None where the format has no such file.
  """

  rows: Callable
  config: Callable | None = None
