"""The manifest of a saved step: the files it consists of, and their checksums.

It is written last, once all else is on the disk. Every file has a checksum,
save for large ones of leaves: each leaf has its own digest (see `digests`).
"""

import fnmatch
import json
import os
import pathlib
import zlib

from vit_jax import files
from vit_jax.files import folders

FILE = 'manifest.json'
FORMAT = 1
MAX_BYTES = 8 << 20  # Of the manifest itself.
LEAVES = 'state'  # Folder of the leaves; their numbers are in its
DATA = 'd'  # folders of this name, as OCDBT has them,
SMALL = 1 << 20  # and bytes up to which a file of it gets a checksum.


class Damaged(Exception):
  """A step is not what was saved; the message says which part of it."""


def commit(step_dir, facts):
  """Brings a finished step to the disk and writes its manifest.

  Args:
    step_dir: folder of the step; nothing writes to it any more.
    facts: {name: anything JSON holds}, kept in the manifest.
  """
  step_dir = files.path(step_dir)
  is_local = not files.is_remote(step_dir)
  measured = {}
  for path, size in sorted(_files(step_dir)):
    if is_local:
      files.sync(path)
    name = str(path.relative_to(step_dir))
    measured[name] = _measure(path, size, step_dir)
  if is_local:
    for folder, _, _ in os.walk(step_dir):
      files.sync(folder)
  text = json.dumps({**facts, 'format': FORMAT, 'files': measured})
  checksum = f'{zlib.crc32(text.encode()):08x}'
  files.write_text(step_dir / FILE, f'{text}\n{checksum}\n')
  if is_local:
    files.sync(step_dir.parent)


def is_committed(step_dir):
  """Returns whether a step was saved to its end; its files may be damaged."""
  return (files.path(step_dir) / FILE).is_file()


def check(step_dir, data=True):
  """Compares the files of a step with its manifest.

  Args:
    step_dir: folder of the step.
    data: whether to read the files of leaves' numbers, which digests cover; if
      not, their sizes count.

  Returns:
    The facts that were given to `commit`.

  Raises:
    Damaged: names the file, and what is wrong with it.
  """
  step_dir = files.path(step_dir)
  if not files.is_remote(step_dir) and (
    step_dir.is_symlink() or any(path.is_symlink() for path in _all(step_dir))
  ):
    raise Damaged('it holds or is a symbolic link, which is never followed')
  facts = _read(step_dir / FILE)
  for name, wanted in facts.pop('files').items():
    path = step_dir / name
    inner = pathlib.PurePath(name)
    if inner.is_absolute() or '..' in inner.parts:
      raise Damaged(f'{FILE} names {name}, which is not in its folder')
    if not isinstance(wanted, list) or len(wanted) != 2:
      raise Damaged(f'{FILE} does not say what {name} was')
    try:
      given = [path.stat().st_size, None]
      if given[0] == wanted[0]:
        given = _measure(path, given[0], step_dir, data)
    except (FileNotFoundError, NotADirectoryError) as error:
      raise Damaged(f'{name} is missing') from error
    except OSError as error:
      raise Damaged(f'{name} cannot be read ({error.strerror})') from error
    if given[0] != wanted[0]:
      raise Damaged(f'{name} has {given[0]} bytes and had {wanted[0]}')
    if given != wanted and (data or given[1] is not None):
      raise Damaged(f'{name} has changed since it was written')
  return facts


def facts(step_dir):
  """Returns the facts that were given to `commit`, and reads nothing else.

  Raises:
    Damaged: the manifest is missing or not what was written.
  """
  facts = _read(files.path(step_dir) / FILE)
  del facts['files']
  return facts


def _read(path):
  try:
    text = files.read_bytes(path, MAX_BYTES).decode()
    text, checksum = text.splitlines()
    if f'{zlib.crc32(text.encode()):08x}' != checksum:
      raise ValueError('its checksum differs')
    manifest = files.parse_json(text)
    if not isinstance(manifest.get('files'), dict):
      raise ValueError('it lists no files')
  except FileNotFoundError as error:
    raise Damaged(f'{FILE} is missing') from error
  except (OSError, ValueError, AttributeError) as error:
    raise Damaged(f'{FILE} has changed since it was written') from error
  given = manifest.pop('format', None)
  if given != FORMAT:
    raise Damaged(f'{FILE} is of format {given}; this version reads {FORMAT}')
  return manifest


def _measure(path, size, step_dir, data=True):
  """Returns [bytes, checksum], or [bytes, None]."""
  is_leaf = path.is_relative_to(step_dir / LEAVES)
  if is_leaf and (size > SMALL or not (data or path.parent.name != DATA)):
    return [size, None]
  return [size, _checksum(path)]


def _checksum(path):
  checksum = 0
  with files.open_regular(path) as file:
    while chunk := file.read(SMALL):
      checksum = zlib.crc32(chunk, checksum)
  return checksum


def _all(folder):
  for parent, inner, names in os.walk(folder):
    for name in (*inner, *names):
      yield pathlib.Path(parent) / name


def _files(step_dir):
  """Yields the files that a manifest lists, and their sizes.

  A kill may leave half of a manifest.
  """
  for path, size in folders.walk(step_dir).items():
    unfinished = fnmatch.fnmatch(path.name, f'{FILE}*{files.UNFINISHED}')
    if path.name != FILE and not unfinished:
      yield path, size
