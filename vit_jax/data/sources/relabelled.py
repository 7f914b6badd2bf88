"""A source whose labels are those of a model that has seen other data."""

import dataclasses
from typing import Any

from vit_jax import errors


@dataclasses.dataclass(eq=False)
class Relabelled:
  """A source; see `sources` for what that is.

  Attributes:
    source: whose labels are mapped.
    places: index of each class of the source among those of the model.
    num_classes: of the model.
    class_names: of the model, or None.
  """

  source: Any
  places: tuple[int, ...]
  num_classes: int
  class_names: tuple[str, ...] | None

  def __len__(self):
    return len(self.source)

  def __getitem__(self, index):
    example = self.source[index]
    label = int(example['label'])
    if label < 0:
      return example
    if label >= len(self.places):
      raise errors.UserError(
        f'The label {label} is of no class: {len(self.places)} have names.'
      )
    return {**example, 'label': self.places[label]}

  def where(self, index):
    return self.source.where(index)

  def key(self, index):
    return self.source.key(index)

  def facts(self):
    yield from self.source.facts()
    yield str(self.places)
