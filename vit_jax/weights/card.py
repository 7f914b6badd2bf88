"""The card of weights: what one has to know to use them, beside the arrays.

A run writes it at its first step, `convert` beside what it writes; of other
formats it is read from their own files, and written to them. Nobody else
guesses what classes are called, or how images are prepared.
"""

import dataclasses
import json
import math
from typing import Any

from ml_collections import config_dict

from vit_jax import errors, files
from vit_jax.config import schema
from vit_jax.data import names as spelling
from vit_jax.data.datasets import class_names as known_names
from vit_jax.weights import preprocessing as preparation

FILE = 'card.json'
_KINDS = {  # What the types of JSON are called.
  bool: 'true or false',
  dict: 'an object',
  float: 'a number with a point',
  int: 'a whole number',
  list: 'a list',
  str: 'a text',
  type(None): 'null',
}
MAX_BYTES = 8 << 20  # 21,843 class names, twice over, take 3.


@dataclasses.dataclass(frozen=True)
class Card:
  """What is known of weights.

  Attributes:
    model: the configuration's part `model`.
    num_classes: outputs of the head; 0: there is none.
    class_names: a name for each of them, or None.
    image_size: (rows, columns) in pixels that it was trained on; None: any.
    preprocessing: how an image file becomes pixels.
    source: {name: JSON value} of where the weights come from, such as recipe,
      data set, fingerprint, step, licence, accuracy.
  """

  model: config_dict.ConfigDict
  num_classes: int
  class_names: tuple[str, ...] | None = None
  image_size: tuple[int, int] | None = None
  preprocessing: preparation.Preprocessing = preparation.AS_RELEASED
  source: dict[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    names = self.class_names
    if names is not None and len(names) != self.num_classes:
      raise errors.UserError(
        f'{len(names)} class names do not fit a head of {self.num_classes} '
        'classes.'
      )

  def names(self):
    """Returns what to call each class; 'class 0' where no name is known.

    Each is one line of valid text, whatever a stranger's file says.
    """
    if self.class_names is not None:
      return tuple(map(spelling.shown, known_names.readable(self.class_names)))
    return tuple(f'class {index}' for index in range(self.num_classes))


def of_run(config, num_classes, class_names, source):
  """Returns the card of a training.

  Args:
    config: of the run.
    num_classes: outputs of its head; 0: there is none.
    class_names: of the training data, or None; a head may have more classes.
    source: see `Card`.
  """
  return Card(
    config.model,
    num_classes,
    padded(class_names, num_classes),
    schema.image_size(config.data),
    preparation.of_data(config.data),
    source,
  )


def evaluated(card, step, report):
  """Returns the card of a run with an evaluation of it in its source.

  Args:
    card: of the run.
    step: that was evaluated.
    report: {name: float}; what is not finite becomes None.
  """
  values = {
    name: value if math.isfinite(value) else None
    for name, value in report.items()
  }
  source = {**card.source, 'evaluated': {'step': step, **values}}
  return dataclasses.replace(card, source=source)


def padded(class_names, num_classes):
  """Returns a name for each class; the index where there are too few."""
  if class_names is None or not num_classes:
    return None
  missing = range(len(class_names), num_classes)
  return (*class_names, *(f'class {index}' for index in missing))


def write(folder, card):
  """Writes the card to a folder, whole or not at all."""
  content = dataclasses.asdict(card) | {'model': card.model.to_dict()}
  text = json.dumps(content, indent=1, allow_nan=False)
  files.write_text(files.path(folder) / FILE, text + '\n')


def read(folder, model):
  """Returns the card in a folder; None: it has none, as those of older runs.

  Args:
    folder: of a run or an exported model.
    model: the configuration's part `model`, from the config.json beside it.

  Raises:
    UserError: it is no card.
  """
  path = files.path(folder) / FILE
  if not files.exists(path):
    return None
  said = read_json(path)
  try:
    return _parse(said, model)
  except errors.UserError as error:
    raise errors.UserError(f'{path} is no card of weights: {error}') from error


def read_json(path):
  """Returns the object that a JSON file of a stranger holds.

  Raises:
    UserError: it is too large, or is no JSON object.
  """
  try:
    said = files.read_json(path, MAX_BYTES)
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise errors.UserError(f'{path} is no JSON: {reason}.') from error
  if not isinstance(said, dict):
    raise errors.UserError(f'{path} is no JSON object.')
  return said


def _parse(said, model):
  """Returns the card in the content of a file.

  Raises:
    UserError: a field is missing, or its value of another type than `write`'s.
  """
  num_classes = _typed(said, 'num_classes', int)
  names = _typed(said, 'class_names', list, type(None))
  size = _typed(said, 'image_size', list, type(None))
  if not all(type(name) is str for name in names or ()):
    raise errors.UserError('class_names is no list of texts.')
  if size is not None and not (
    len(size) == 2 and all(type(n) is int and n > 0 for n in size)
  ):
    raise errors.UserError(f'image_size={size} is not (rows, columns).')
  return Card(
    model,
    num_classes,
    None if names is None else tuple(names),
    None if size is None else tuple(size),
    _parse_preprocessing(_typed(said, 'preprocessing', dict)),
    _typed(said, 'source', dict),
  )


def _parse_preprocessing(said):
  parsed = {}
  for field in dataclasses.fields(preparation.Preprocessing):
    if field.name not in said:  # A card of before there was the field.
      continue
    if isinstance(field.default, tuple):
      values = _typed(said, field.name, list)
      channels = dict(enumerate(values))
      parsed[field.name] = tuple(
        _typed(channels, i, int, float) for i in channels
      )
    elif isinstance(field.default, float):
      parsed[field.name] = _typed(said, field.name, int, float)
    else:
      parsed[field.name] = _typed(said, field.name, type(field.default))
  unknown = said.keys() - parsed.keys()
  if unknown:
    raise errors.UserError(f'preprocessing has no {min(unknown)}.')
  return preparation.Preprocessing(**parsed)


def _typed(said, name, *types):
  """Returns a field of one of several types; a bool is no int."""
  if name not in said:
    raise errors.UserError(f'{name} is missing.')
  if type(said[name]) not in types:
    kinds = ' or '.join(_KINDS[kind] for kind in types)
    raise errors.UserError(f'{name}={said[name]!r} is not {kinds}.')
  return said[name]
