"""What the files of a project tell of weights, and how values are read."""

import dataclasses
import math
from typing import Any

from vit_jax import errors, files
from vit_jax.config import validation
from vit_jax.data.datasets import class_names as known_names
from vit_jax.weights import card as cards
from vit_jax.weights import preprocessing as preparation

CONFIG = 'config.json'
# What values of other types and sizes than expected give.
_UNEXPECTED = (
  ArithmeticError,
  AttributeError,
  LookupError,
  TypeError,
  ValueError,
)
MAX_CLASSES = 1 << 20  # More are a forged number.


@dataclasses.dataclass(frozen=True)
class Told:
  """What is said of weights; None where nothing is.

  Attributes:
    gelu, norm_epsilon, num_heads, pooling: fields of the configuration's part
      `model`.
    position_embedding: likewise, where the weights have no array of it.
    image_size: (rows, columns) in pixels.
    class_names, preprocessing, source: see `card.Card`.
    assumed: a sentence: what is not said and was assumed; or ''.
  """

  gelu: str = 'erf'
  norm_epsilon: float = 1e-6
  num_heads: int | None = None
  pooling: str | None = None
  position_embedding: str = 'sincos_2d'
  image_size: tuple[int, int] | None = None
  class_names: tuple[str, ...] | None = None
  preprocessing: preparation.Preprocessing = preparation.AS_RELEASED
  source: dict[str, Any] = dataclasses.field(default_factory=dict)
  assumed: str = ''


def config_in(folder):
  """Returns the path of `CONFIG` in a folder; None: it has none."""
  path = files.path(folder) / CONFIG
  return path if files.exists(path) else None


def read_json(path, parse):
  """Returns what `parse` makes of the object in a JSON file of a stranger.

  Raises:
    UserError: it is no such file, or says what this project can't compute; it
      names the file.
  """
  said = cards.read_json(path)
  try:
    return parse(said)
  except errors.UserError as error:
    raise errors.UserError(f'{path}: {error}') from error
  except _UNEXPECTED as error:
    raise errors.UserError(
      f'{path} does not describe a model: {error}.'
    ) from error


def pair(name, size):
  """Returns (rows, columns) of a side or of both; None of nothing."""
  sides = [size] * 2 if type(size) is int else size or []
  if sides and (
    not isinstance(sides, list)
    or len(sides) != 2
    or not all(
      type(side) is int and 0 < side <= validation.MAX_SIDE for side in sides
    )
  ):
    raise errors.UserError(f'{name}={size} is no size of an image.')
  return tuple(sides) or None


def number(name, value):
  """Returns the value, if it is a finite number."""
  if type(value) not in (int, float) or not math.isfinite(value):
    raise errors.UserError(f'{name}={value!r} is no number.')
  return value


def channels(name, value):
  """Returns the numbers of 3 channels, of which one may stand for all."""
  values = value if isinstance(value, list) else [value] * 3
  return tuple(float(number(name, each)) for each in values)


def names(name, said, num_classes):
  """Returns a name for each class, or None.

  Args:
    name: of the field that says it.
    said: a list of names, or {number of a class: name}.
    num_classes: outputs of the head; None: as many as there are names.

  Raises:
    UserError: it is no such thing.
  """
  if not said:
    return None
  by_class = said if isinstance(said, dict) else dict(enumerate(said))
  try:
    by_class = {int(key): str(value) for key, value in by_class.items()}
  except (ValueError, TypeError) as error:
    raise errors.UserError(f'{name} does not number classes.') from error
  count = num_classes or len(by_class)
  if count > MAX_CLASSES:
    raise errors.UserError(f'{count} classes are more than any model has.')
  if min(by_class) < 0 or max(by_class) >= count:
    raise errors.UserError(
      f'{name} names class {max(by_class)}, or one below 0, of {count} classes.'
    )
  return known_names.recognised(
    [by_class.get(index, f'class {index}') for index in range(count)]
  )
