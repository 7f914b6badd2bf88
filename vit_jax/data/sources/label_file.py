"""Lists of images and labels: <data set>/<split>.csv, or <split>.jsonl.

A CSV file starts with a line `image,label`; each line of a JSONL file is an
object with `image` and `label`. The image is a path within the folder of the
data set. A label is the name of a class, or its index; empty (in JSON, null)
means no label.
"""

import csv
import json
from typing import NamedTuple

from vit_jax import errors

SUFFIXES = ('.csv', '.jsonl')


class Listing(NamedTuple):
  """The files of a split."""

  names: list  # Path of each, within the folder of the data set.
  labels: list  # Class index of each; -1 where there is none.
  class_names: tuple | None
  num_classes: int


def find(root, split):
  """Returns the path of the list of a split, or None where it has none."""
  paths = [root / f'{split}{suffix}' for suffix in SUFFIXES]
  return next((path for path in paths if path.exists()), None)


def splits(root):
  """Returns the names of the splits that have a list, sorted."""
  paths = [path for path in root.iterdir() if path.suffix in SUFFIXES]
  return sorted(path.stem for path in paths)


def read(root, split, class_names):
  """Returns the `Listing` of a split.

  Args:
    root: folder of the data set.
    split: one of `splits`.
    class_names: from classes.txt. If None: where labels are names, those in the
      lists of all splits, sorted; where they are indices, none.

  Raises:
    UserError: names the file and the line that can't be parsed.
  """
  rows = _rows(find(root, split))
  every = {split: rows}
  if class_names is None:
    every |= {
      other: _rows(find(root, other))
      for other in splits(root)
      if other != split
    }
  labels = {row.label for rows in every.values() for row in rows} - {None}
  if class_names is None and not all(map(_is_index, labels)):
    class_names = tuple(sorted(map(str, labels)))
  index = {name: number for number, name in enumerate(class_names or ())}
  found = [_index(row, index, class_names) for row in rows]
  num_classes = len(class_names or ()) or 1 + max(map(int, labels), default=0)
  return Listing([row.image for row in rows], found, class_names, num_classes)


class _Row(NamedTuple):
  image: str
  label: str | int | None
  where: str


def _rows(path):
  read = _csv if path.suffix == '.csv' else _jsonl
  rows = []
  for number, fields in read(path):
    where = f'{path}, line {number}'
    image, label = fields.get('image'), fields.get('label')
    if not isinstance(image, str) or not image:
      raise errors.UserError(f'{where}, names no image.')
    if isinstance(label, (bool, float, list, dict)):
      raise errors.UserError(
        f'{where}: the label {label!r} is neither a name nor an index.'
      )
    rows.append(_Row(image, None if label == '' else label, where))
  if not rows:
    raise errors.UserError(f'{path} lists no image.')
  return rows


def _csv(path):
  with path.open('r') as file:
    reader = csv.DictReader(file)
    if not {'image', 'label'} <= set(reader.fieldnames or ()):
      raise errors.UserError(
        f'{path} has the columns {", ".join(reader.fieldnames or ())}; it must '
        'have image and label.'
      )
    for fields in reader:
      yield reader.line_num, fields


def _jsonl(path):
  for number, line in enumerate(path.read_text().splitlines(), 1):
    try:
      fields = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise errors.UserError(
        f'{path}, line {number}, is not JSON: {error}'
      ) from error
    if not isinstance(fields, dict):
      raise errors.UserError(
        f'{path}, line {number}, is not an object with image and label.'
      )
    yield number, fields


def _is_index(label):
  return isinstance(label, int) or label.isdecimal()


def _index(row, index, class_names):
  """Returns the class index of a row's label."""
  if row.label is None:
    return -1
  if row.label in index:
    return index[row.label]
  if _is_index(row.label):
    number = int(row.label)
    if class_names is None or number < len(class_names):
      return number
  raise errors.UserError(
    f'{row.where}: there is no class {row.label!r}. '
    f'{errors.nearest(str(row.label), class_names)}'
  )
