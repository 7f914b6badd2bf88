"""One list of classes over all splits of a data set, whatever their layout.

`classes.txt` has the last word. Without it the classes are the folders and the
labels of all splits, sorted by name; labels that are numbers are the indices.
Names are compared without spaces around them and in one spelling of letters
and accents, and kept as they are written.
"""

import dataclasses
import re
from typing import NamedTuple

from vit_jax import errors
from vit_jax.data import names
from vit_jax.data.sources.folder import text_file

FILE = 'classes.txt'

_NUMBER = re.compile(r'\+?(\d{1,99})(?:\.0*)?', re.ASCII)
_OTHER_NUMBER = re.compile(r'[+-]?(?:\d+\.?\d*|\.\d+)', re.ASCII)

# Numbers that leave more indices unused than are used, and more than this, are
# taken as names: years, identifiers. A head for all indices would be vast.
_MAX_UNUSED = 16


class Labels(NamedTuple):
  """The classes of one split, as they are written.

  Attributes:
    split: its name.
    first: {what is written: where it first is}.
    is_list: whether it has a list of labels, and no folders of classes.
  """

  split: str
  first: dict
  is_list: bool


@dataclasses.dataclass(frozen=True)
class ClassList:
  """The classes of a data set; see above.

  Attributes:
    names: of the classes; None: they are only numbered.
    num_classes: number of classes.
    note: a line for the user, or ''.
    is_listed: whether they are from classes.txt; a list may then give indices.
  """

  names: tuple | None
  num_classes: int
  note: str = ''
  is_listed: bool = False

  def __post_init__(self):
    by_key = {names.key(name): i for i, name in enumerate(self.names or ())}
    by_number = {}
    for key, index in by_key.items():
      by_number.setdefault(number(key), index)
    by_number.pop(None, None)
    if not by_number and (self.names is None or self.is_listed):
      by_number = range(self.num_classes)  # A number is no name, but an index.
    object.__setattr__(self, '_by_key', by_key)
    object.__setattr__(self, '_by_number', by_number)

  @property
  def shown(self):
    """The names, each one line of valid text; None where there are none."""
    return self.names and names.distinct(self.names)

  def index(self, label, is_list=True):
    """Returns the index of a class as it is written, None if it has none.

    Args:
      label: what stands for it.
      is_list: whether in a list; else it is the name of a folder.
    """
    found = self._by_key.get(names.key(label))
    if found is not None:
      return found
    value = number(label)
    is_name = self.is_listed and not is_list
    if value is None or value not in self._by_number or is_name:
      return None
    return self._by_number[value]

  def check(self, labels, where):
    """Raises UserError where a class of `Labels` is not in the list.

    Args:
      labels: of a split.
      where: the list is from, for the error.
    """
    for label, place in labels.first.items():
      if self.index(label, labels.is_list) is None:
        known = self.shown or [f'0 to {self.num_classes - 1}']
        raise errors.UserError(
          f'{place}: class {names.shown(label)!r} is not in {where}. '
          f'{errors.nearest(names.shown(label), known)}'
        )


def number(label):
  """Returns the number that a label is, as in '7', '007' or '7.0', or None."""
  match = _NUMBER.fullmatch(names.key(label))
  return int(match[1]) if match else None


def read(root):
  """Returns the lines of classes.txt, or None where there is no such file.

  Raises:
    UserError: it can't be decoded, is empty, or names a class twice.
  """
  path = root / FILE
  if not path.exists():
    return None
  lines = [line.strip() for line in text_file.lines(text_file.read(path))]
  found = tuple(line for line in lines if line)
  seen = {}
  for line_number, line in enumerate(lines, 1):
    first = seen.setdefault(names.key(line), line_number)
    if line and first != line_number:
      raise errors.UserError(
        f'{names.shown(path)} names {names.shown(line)!r} twice, in lines '
        f'{first} and {line_number}; it has each class on one line.'
      )
  if not found:
    raise errors.UserError(
      f'{names.shown(path)} is empty; it has each class on one line.'
    )
  return found


def unite(splits, num_classes=None):
  """Returns the `ClassList` of the `Labels` of all splits.

  Args:
    splits: of which the first is that of training.
    num_classes: what the user says there are, or None.

  Raises:
    UserError: numbers and names are mixed, or a label is neither.
  """
  folders = {}
  for split in splits:
    if not split.is_list:
      for name in split.first:
        folders.setdefault(names.key(name), name)
  for split in splits:
    if split.is_list:
      _check_numbers(split.first, folders)
  written, places = {}, {}  # How and where each key is first.
  for split in splits:
    for label, place in split.first.items():
      written.setdefault(names.key(label), label)
      places.setdefault(names.key(label), place)
  in_lists = {
    names.key(label): place
    for split in splits
    if split.is_list
    for label, place in split.first.items()
    if names.key(label) not in folders
  }
  numbers = {key for key in in_lists if number(key) is not None}
  if not written:
    return ClassList(None, 0)
  if not numbers:
    return _named(written)
  others = [key for key in written if number(key) is None]
  if others:
    one = min(numbers, key=list(written).index)
    raise _mixed(places[one], one, places[others[0]], others[0])
  if folders:
    return _named(_once_each(written, folders))
  return _numbered(written, num_classes)


def _named(written):
  """Returns the list of names, {key: as it is written}, sorted by key."""
  keys = sorted(written, key=_order_of(set(written)))
  return ClassList(tuple(written[key].strip() for key in keys), len(keys))


def _order_of(keys):
  """Returns the sort key of classes: as numbers if 0 to n - 1, else as names.

  The folders of ImageNet-v2 are called 0 to 999, the indices of the classes.
  """
  are_indices = keys == set(map(str, range(len(keys))))
  return int if are_indices else str


def _once_each(written, preferred):
  """Returns {key: name} without a second spelling of a number, as 7 and 007."""
  once = {}
  for key in sorted(written, key=lambda key: key not in preferred):
    value = number(key)
    name = (key, written[key]) if key in preferred else (str(value),) * 2
    once.setdefault(value, name)
  return dict(once.values())


def _numbered(written, num_classes):
  """Returns the list of numbers: they are indices, unless most are unused."""
  used = sorted({number(key) for key in written})
  count = used[-1] + 1
  unused = count - len(used)
  is_given = num_classes is not None and count <= num_classes
  if is_given or unused <= max(len(used), _MAX_UNUSED):
    return ClassList(None, count)
  return ClassList(
    tuple(map(str, used)),
    len(used),
    f'the labels are {len(used):,} numbers from {used[0]} to {used[-1]}: they '
    'are taken as names; data.num_classes makes them indices',
  )


def _check_numbers(first, folders):
  """Raises UserError where a label is a number and can be no index."""
  for label, place in first.items():
    is_other = number(label) is None and _OTHER_NUMBER.fullmatch(label)
    if is_other and names.key(label) not in folders:
      raise errors.UserError(
        f'{place}: the label {label!r} is neither a name nor an index (-1: '
        f'none); a {FILE} beside the splits can make it a name.'
      )


def _mixed(place, value, other_place, name):
  return errors.UserError(
    f'{place}: the label {names.shown(value)!r} is a number, and '
    f'{names.shown(name)!r} ({other_place}) a name; give all by one of them, '
    f'or a {FILE} beside the splits, which makes each clear.'
  )
