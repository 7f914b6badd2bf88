"""Lists of images and labels: <data set>/<split>.csv, or <split>.jsonl.

A CSV file starts with a line `image,label`, and may have other columns; it may
be separated by semicolons or tabs, as spreadsheets write it. Each line of a
JSONL file is an object with `image` and `label`. The image is a path within the
folder of the data set, or within the folder that is called like the list. A
label is the name of a class or its index; empty, -1 or null, there is none.
"""

import collections
import csv
import os
import posixpath
import re
from typing import NamedTuple

from vit_jax import errors, files
from vit_jax.data import image_files, names
from vit_jax.data.sources.folder import text_file

SUFFIXES = ('.csv', '.tsv', '.jsonl')

_COLUMNS = ('image', 'label')
_DELIMITERS = ',;\t|'
_NONE = re.compile(r'(?:-1(?:\.0*)?|null|nan)?', re.IGNORECASE)


class Table(NamedTuple):
  """The rows of a list, in order.

  Attributes:
    path: of the list.
    images: path of each, within the folder of the data set.
    labels: what stands for the class of each, as text; None: no label.
    lines: number of the line of each.
  """

  path: os.PathLike
  images: list
  labels: list
  lines: list

  def where(self, row):
    return f'{names.shown(self.path)}, line {self.lines[row]}'


def read(path):
  """Returns the `Table` of a list.

  Raises:
    UserError: names the file and the line that can't be parsed.
  """
  table = Table(path, [], [], [])
  text = text_file.read(path)
  parse = _jsonl if path.suffix.lower() == '.jsonl' else _csv
  for line, image, label in parse(path, text):
    where = f'{names.shown(path)}, line {line}'
    if not isinstance(image, str) or not image.strip():
      raise errors.UserError(f'{where}, names no image.')
    table.images.append(image)
    table.labels.append(_label(label, where))
    table.lines.append(line)
  if not table.images:
    raise errors.UserError(f'{names.shown(path)} lists no image.')
  _check_repeated(table)
  return table


def on_disk(root, table, complete=True, allow_outside=False):
  """Returns the `Table` of the images that are there, and what is left out.

  A name is found in another spelling, too: of letters and accents, with spaces
  around it, or with the backslashes of Windows.

  Args:
    root: folder of the data set.
    table: see `read`.
    complete: whether all must be there; else those that are not are left out.
    allow_outside: whether images may lie in other folders, as ../photos/a.jpg.

  Returns:
    The table, and {kind of file: number} of listed files that are no images.

  Raises:
    UserError: some are missing; says how many, and names the first. Or one is
      outside of the folder, and may not be.
  """
  folder, root = files.path(root), os.fspath(root)
  if not allow_outside:
    _check_inside(root, table)
  own = f'{table.path.stem}/'
  folders = {}  # {path: {spelling: name}}
  kept, missing = Table(table.path, [], [], []), []
  left_out = collections.Counter()
  for row, image in enumerate(table.images):
    found = _spelt(folder, image, folders)
    found = found or _spelt(folder, own + image.strip(), folders)
    if found is None:
      missing.append(row)
    elif not image_files.is_image(f'{root}/{found}'):
      left_out[image_files.kind(found)] += 1
    else:
      kept.images.append(found)
      kept.labels.append(table.labels[row])
      kept.lines.append(table.lines[row])
  if missing and (complete or not kept.images):
    raise errors.UserError(
      f'{table.where(missing[0])}: there is no file '
      f'{names.shown(table.images[missing[0]])!r} in {names.shown(root)} '
      f'({len(missing):,} of {len(table.images):,} listed images are missing). '
      'Put them there, or remove their lines from the list.'
    )
  if not kept.images:
    raise errors.UserError(
      f'{names.shown(table.path)} lists no image that can be decoded: '
      f'{image_files.describe(left_out)}.'
    )
  return kept, left_out


def _check_inside(root, table):
  """Raises UserError where an image is listed that is not in the folder."""
  for row, image in enumerate(table.images):
    name = posixpath.normpath(image.strip().replace('\\', '/'))
    if name.startswith('../'):
      raise errors.UserError(
        f'{table.where(row)}: {names.shown(image)!r} is not in '
        f'{names.shown(root)}. Lists of strangers name no files of yours: if '
        'it is meant, allow it by --config.data.allow_outside=true.'
      )


def _spelt(root, image, folders):
  """Returns the name on the disk of a listed image, None if there is none."""
  for name in dict.fromkeys((image, image.strip(), image.replace('\\', '/'))):
    if name.startswith(f'{root}/'):
      name = name[len(f'{root}/') :]
    if name.startswith('/'):
      continue
    folder, base = posixpath.split(posixpath.normpath(name))
    if folder not in folders:
      folders[folder] = _spellings(root / folder if folder else root)
    known = folders[folder]
    found = known.get(base) or known.get(names.key(base))
    if found:
      return posixpath.join(folder, found)
  return None


def _spellings(folder):
  """Returns {spelling: name} of the files of a folder; {}: there is none."""
  if not files.is_remote(folder) and not os.path.isdir(folder):
    return {}
  # Hidden files and all: they are listed.
  found = image_files.all_names(folder)
  return {names.key(name): name for name in found} | dict(zip(found, found))


def _check_repeated(table):
  """Raises UserError where an image has two labels."""
  first = {}
  for row, image in enumerate(table.images):
    before = first.setdefault(posixpath.normpath(image.strip()), row)
    one, two = table.labels[before], table.labels[row]
    if one != two:
      raise errors.UserError(
        f'{table.where(row)}: {names.shown(image)!r} has the label '
        f'{_quoted(two)}, and in line {table.lines[before]} {_quoted(one)}.'
      )


def _quoted(label):
  return 'of none' if label is None else repr(names.shown(label))


def _label(label, where):
  """Returns a label as text, None where there is none."""
  if isinstance(label, float) and label.is_integer():
    label = int(label)
  if label is None or label != label:  # JSON can say NaN.
    return None
  if isinstance(label, (bool, float, list, dict)):
    raise errors.UserError(
      f'{where}: the label {label!r} is neither a name nor an index.'
    )
  text = str(label).strip()
  return None if _NONE.fullmatch(text) else text


def _csv(path, text):
  """Yields (number of the line, image, label) of each row."""
  lines = text_file.lines(text)
  # Strict: an unclosed quote would swallow the rest of the file.
  reader = csv.reader(lines, delimiter=_delimiter(lines), strict=True)
  header = None
  try:
    for cells in reader:
      where = f'{names.shown(path)}, line {reader.line_num}'
      if not any(map(str.strip, cells)):
        continue
      if header is None:
        header = _columns(cells)
        _check_columns(path, header)
      else:
        _check_width(cells, header, where)
        image, label = (cells[header.index(name)] for name in _COLUMNS)
        yield reader.line_num, image, label
  except csv.Error as error:
    raise errors.UserError(
      f'{names.shown(path)}, line {reader.line_num}, is not CSV: {error}.'
    ) from error
  if header is None:
    _check_columns(path, ())


def _delimiter(lines):
  """Returns what parts the columns image and label; a comma if nothing does."""
  first = next((line for line in lines if line.strip()), '')
  for delimiter in _DELIMITERS:
    if set(_COLUMNS) <= set(_columns(first.split(delimiter))):
      return delimiter
  return _DELIMITERS[0]


def _columns(cells):
  return [cell.strip().strip('"').casefold() for cell in cells]


def _check_columns(path, header):
  for name in _COLUMNS:
    if header.count(name) > 1:
      raise errors.UserError(
        f'{names.shown(path)} has {header.count(name)} columns called {name}; '
        'it must have one.'
      )
  if not set(_COLUMNS) <= set(header):
    raise errors.UserError(
      f'{names.shown(path)} has the columns {names.quoted(header)}; it must '
      'have image and label.'
    )


def _check_width(cells, header, where):
  """Raises UserError where cells would be taken for those of other columns."""
  needed = 1 + max(header.index(name) for name in _COLUMNS)
  extra = any(map(str.strip, cells[len(header) :]))
  if extra or len(cells) < needed:
    raise errors.UserError(
      f'{where}, has {len(cells)} cells, and there are {len(header)} columns; '
      'a name with a separator in it needs quotes around it.'
    )


def _jsonl(path, text):
  """Yields (number of the line, image, label) of each row."""
  for number, line in enumerate(text_file.lines(text), 1):
    where = f'{names.shown(path)}, line {number},'
    if not line.strip():
      continue
    try:
      fields = files.parse_json(line, finite=False)
    except ValueError as error:
      raise errors.UserError(f'{where} is not JSON: {error}') from error
    if not isinstance(fields, dict):
      raise errors.UserError(f'{where} is not an object with image and label.')
    fields = {name.strip().casefold(): fields[name] for name in fields}
    if 'label' not in fields and 'image' in fields:
      raise errors.UserError(
        f'{where} has no label; where there is none, it is null.'
      )
    yield number, fields.get('image'), fields.get('label')
