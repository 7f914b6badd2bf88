"""The one place that writes files: whole or not at all, or line by line."""

import contextlib
import errno
import os
import pathlib
import secrets

from vit_jax import errors

UNFINISHED = '.tmp'  # How the names of files end that are being written.


@contextlib.contextmanager
def replacing(path):
  """Yields a binary file that takes the place of `path` once all went well.

  Nobody ever sees half of it: it is written beside `path`, under a name that
  nobody can guess or has prepared, brought to the disk, and renamed. Where
  `path` is a symbolic link, the link is replaced and its target stays. An
  exception leaves `path` as it was and nothing beside it.

  Raises:
    OSError: the file can't be written.
  """
  path = pathlib.Path(path)
  name = f'{path.name}.{secrets.token_hex(4)}{UNFINISHED}'
  unfinished = path.with_name(name)
  try:
    with open(unfinished, 'xb') as file:  # x: an existing name is an error.
      yield file
    put(unfinished, path)
  finally:
    with contextlib.suppress(OSError):  # Once renamed, there is none.
      unfinished.unlink()


@contextlib.contextmanager
def saving(path, error=errors.UserError):
  """As `replacing`, for a file that the user has named.

  Its folder is made where there is none.

  Args:
    path: of the file.
    error: a `UserError`, raised where the file can't be written.
  """
  path = pathlib.Path(path)
  with reported(path, error):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
      yield file


@contextlib.contextmanager
def reported(path, error=errors.UserError):
  """Turns an OSError into a `UserError`: `path` can not be written."""
  try:
    yield
  except OSError as problem:
    raise error(
      f'{path} can not be written: {problem.strerror or problem}.'
    ) from problem


def write_text(path, text):
  """Replaces a file, as `replacing` does, by one of this text in UTF-8."""
  with replacing(path) as file:
    file.write(text.encode())


def append_line(path, line):
  """Appends a line in one write, and closes the file: a crash loses none.

  After a line that a crash cut short, this one starts afresh.
  """
  with open(path, 'ab+') as file:
    is_cut = False
    if file.seek(0, os.SEEK_END):
      file.seek(-1, os.SEEK_END)
      is_cut = file.read(1) != b'\n'
    file.write(f'\n{line}\n'.encode() if is_cut else f'{line}\n'.encode())


def read_lines(path):
  """Returns the lines of a UTF-8 file, without their ends; [] if there is none.

  A crash may have cut any of them short.
  """
  try:
    with open(path, encoding='utf-8') as file:
      return [line.removesuffix('\n') for line in file]
  except FileNotFoundError:
    return []


def put(unfinished, path):
  """Brings a finished file to the disk and gives it its name in the folder."""
  sync(unfinished)
  os.replace(unfinished, path)
  sync(pathlib.Path(path).parent)


def sync(path):
  """Waits until a file or the names in a folder are on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError as error:
    # Some network file systems do so for files, and know it not of folders.
    if error.errno != errno.EINVAL or not os.path.isdir(path):
      raise
  finally:
    os.close(descriptor)
