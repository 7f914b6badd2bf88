"""What is an image file: one rule, for training, prediction and analysis.

The content decides, by its first bytes. To list a million files without opening
each, the usual extensions are trusted at first; a file that is called so and
holds something else is a bad example once it is read. Files with any other name
are opened and looked at.
"""

import collections
import contextlib
import errno
import os
import pathlib
import re
from typing import NamedTuple

from vit_jax import errors, files
from vit_jax.data import names
from vit_jax.files import listed

MAX_BYTES = 320 << 20  # Of a file; 50 million pixels of 16 bits have 286.

# What Pillow may try, by its names: never a format that starts a program
# (EPS), holds many pictures (ICO, PSD) or is a raw guess.
FORMATS = (
  'JPEG',
  'PNG',
  'WEBP',
  'BMP',
  'GIF',
  'TIFF',
  'PPM',
  'AVIF',
  'JPEG2000',
)

EXTENSIONS = frozenset(
  (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo'),
    *('.png', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.avif'),
    *('.ppm', '.pgm', '.pbm', '.pnm'),
    *('.jp2', '.j2k', '.jpx'),
  )
)

_HEADER = re.compile(
  rb'\xff\xd8\xff'
  rb'|\x89PNG\r\n\x1a\n'
  rb'|RIFF.{4}WEBP'
  rb'|GIF8[79]a'
  rb'|(?:II[*+]\0|MM\0[*+])'  # TIFF
  rb'|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0'  # Size of its header.
  rb'|P[1-6]\s+(?:#|\d)'
  rb'|.{4}ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4})*?avi[fs])'
  rb'|\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n',  # JPEG 2000
  re.DOTALL,
)
_HEADER_BYTES = 64

# What programs leave in folders, beside hidden files.
_JUNK = frozenset(
  (
    *('__macosx', 'thumbs.db', 'desktop.ini', '$recycle.bin'),
    *('@eadir', 'lost+found', '__pycache__'),
  )
)
_OF_A_RUN = ('checkpoints', 'metrics.jsonl')
# Figures that `analyze` and `evaluate` draw, and what they write beside.
_FIGURES = {
  'rollout.png': 'rollout.npz',
  'attention_distance.png': 'attention_distance.npz',
  'position_similarity.png': 'position_similarity.npz',
  'filters.png': 'filters.npz',
  'confusion.png': 'per_class.csv',
  'mistakes.png': 'mistakes.csv',
}


class Found(NamedTuple):
  """The images below a folder, and what else is there.

  Attributes:
    names: their paths within the folder, sorted; parts joined by '/'.
    left_out: {kind of file: number}, of files that are no images.
  """

  names: list
  left_out: collections.Counter


class StoreError(errors.UserError):
  """A store can't be read from; that says nothing of the image."""


class Entries(NamedTuple):
  """The names in a folder, sorted; no junk, hidden files, runs, figures."""

  folders: list
  files: list
  others: list  # Pipes, broken links.


def has_image_header(head):
  """Returns whether bytes begin as one of the formats that are decoded."""
  return _HEADER.match(head) is not None


def read(path):
  """Returns the bytes of an image file.

  Raises:
    OSError: it can't be read, is no regular file, or has over `MAX_BYTES`.
    StoreError: it is remote, and may be as good as any.
  """
  try:
    return files.read_bytes(path, MAX_BYTES)
  except FileNotFoundError:
    raise
  except OSError as error:
    if not files.is_remote(path) or error.errno == errno.EFBIG:
      raise
    raise StoreError(
      f'{names.shown(path)} can not be read: {error.strerror or error}.'
    ) from error


def is_image(path):
  """Returns whether a file is listed as an image; see above."""
  if os.path.splitext(os.fspath(path))[1].lower() in EXTENSIONS:
    return True
  if files.is_remote(path):  # To open each file of a bucket takes too long.
    return False
  try:
    with files.open_regular(path, buffering=0) as file:
      return has_image_header(file.read(_HEADER_BYTES))
  except OSError:
    return False


def find(folder):
  """Returns the `Found` of a folder, at any depth.

  Links are followed, unless they lead back to where they are.

  Raises:
    UserError: a folder can't be read.
  """
  found = Found([], collections.Counter())
  for name, accepted in _walk(folder):
    if accepted:
      found.names.append(name)
    else:
      found.left_out[kind(name)] += 1
  return Found(sorted(found.names), found.left_out)


def has_any(folder):
  """Returns whether there is an image below a folder, at any depth."""
  return any(accepted for _, accepted in _walk(folder))


def entries(folder):
  """Returns the `Entries` of a folder.

  Raises:
    UserError: it can't be read.
  """
  folder = files.path(folder)
  found = Entries([], [], [])
  scanned = [each for each in _scan(folder) if not is_junk(each[0])]
  if isinstance(folder, listed.ListedPath):
    with _reading(folder):  # Whoever asks for it will ask for these.
      listed.ask([folder / n for n, where in scanned if where == 'folders'])
  for name, where in scanned:
    if where != 'folders' or not is_run(_within(folder, name)):
      getattr(found, where).append(name)
  beside = set(found.files)
  shown = [n for n in found.files if _FIGURES.get(n) not in beside]
  return Entries(sorted(found.folders), sorted(shown), sorted(found.others))


def all_names(folder):
  """Returns the names of all that is in a folder, junk and hidden files too.

  Raises:
    UserError: it can't be read.
  """
  with _reading(folder):
    if files.is_remote(folder):
      return [path.name for path in files.path(folder).iterdir()]
    return os.listdir(folder)


def is_junk(name):
  """Returns whether a file or folder is a program's and no part of the data."""
  return name.startswith('.') or name.lower() in _JUNK


def is_run(folder):
  """Returns whether a folder is that of a training, with its plots and all."""
  if files.is_remote(folder):
    with _reading(folder):
      inside = {path.name for path in files.path(folder).iterdir()}
    return 'config.json' in inside and not inside.isdisjoint(_OF_A_RUN)
  return os.path.exists(f'{folder}/config.json') and any(
    os.path.exists(f'{folder}/{name}') for name in _OF_A_RUN
  )


def describe(left_out):
  """Returns '24 files (.heic: 20, .txt: 4)'."""
  kinds = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
  rows = [f'{names.shown(kind)}: {count:,}' for kind, count in kinds[:5]]
  if len(kinds) > 5:
    rows.append('...')
  total = sum(left_out.values())
  return f'{total:,} file{"s" * (total != 1)} ({", ".join(rows)})'


def kind(name):
  """Returns how a file that is left out is counted: by its extension."""
  return os.path.splitext(name)[1].lower() or 'no extension'


def _walk(root):
  """Yields (path in the folder, is it an image) of every file below."""
  waiting = [(files.path(root), '', _parents(root))]
  while waiting:
    folder, prefix, above = waiting.pop()
    inside = entries(folder)
    for name in inside.files:
      yield prefix + name, is_image(f'{folder}/{name}')
    for name in inside.others:
      yield prefix + name, False
    for name in inside.folders:
      path = _within(folder, name)
      identity = _identity(path)
      if identity not in above:
        waiting.append((path, f'{prefix}{name}/', (*above, identity)))


def _within(folder, name):
  """Returns the path of a name; of a store, one that knows what is there."""
  return folder / name if files.is_remote(folder) else f'{folder}/{name}'


def _parents(folder):
  """Returns what a folder and those that it lies in are known by."""
  if files.is_remote(folder):
    return (os.fspath(folder),)
  path = pathlib.Path(folder).absolute()
  return tuple(_identity(str(each)) for each in (path, *path.parents))


def _identity(folder):
  """Returns what a folder and a link to it share."""
  if files.is_remote(folder):
    return os.fspath(folder)
  with _reading(folder):
    status = os.stat(folder)
  return status.st_dev, status.st_ino


def _scan(folder):
  """Yields (name, which of the `Entries` it is) of a folder."""
  with _reading(folder):
    if not files.is_remote(folder):
      with os.scandir(folder) as found:
        for entry in found:
          yield (
            entry.name,
            'folders'
            if entry.is_dir()
            else 'files'
            if entry.is_file()
            else 'others',
          )
      return
    for path, is_folder in folder.entries():
      yield path.name, 'folders' if is_folder else 'files'


@contextlib.contextmanager
def _reading(folder):
  try:
    yield
  except OSError as error:
    raise errors.UserError(
      f'{names.shown(folder)} can not be read: {error.strerror or error}.'
    ) from error
