"""Files on a disk or in a store: written whole or line by line, read in limits.

No other module writes files. What is written through a symbolic link would
land on somebody else's file, so links are never followed for it. What is read
may come from strangers: only regular files are, of a bounded size.

A path with a scheme, gs:// or s3://, is that of an object (see `remote`).
"""

import contextlib
import errno
import fnmatch
import json
import os
import pathlib
import secrets
import stat
import tempfile

from vit_jax import errors
from vit_jax.files import remote
from vit_jax.files.remote import is_remote

__all__ = ['is_remote']

UNFINISHED = '.tmp'  # How the names of files end that are being written.
MAX_JSON = 4 << 20  # Bytes; parsed, it takes up to 25 times as many.
MAX_DEPTH = 32  # Of lists and objects in JSON.
MAX_LINES = 256 << 20  # Bytes of a file of lines.

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def path(name):
  """Returns the `pathlib.Path` of a name, or a `remote.RemotePath`.

  Raises:
    UserError: it is of a store that can't be used here.
  """
  if not is_remote(name):
    return pathlib.Path(name)
  if not isinstance(name, remote.RemotePath):
    remote.check(name)
    name = remote.RemotePath(name)
  return name


_path = path  # Where an argument has that name.


def exists(path):
  """Returns whether there is such a file or folder.

  Raises:
    UserError: it is in a store that can't be asked.
  """
  if not is_remote(path):
    return os.path.exists(path)
  with asking(path):
    return _path(path).exists()


def is_folder(path):
  """Returns whether there is such a folder.

  Raises:
    UserError: it is in a store that can't be asked.
  """
  if not is_remote(path):
    return os.path.isdir(path)
  with asking(path):
    return _path(path).is_dir()


@contextlib.contextmanager
def asking(path):
  """Turns an OSError into a `UserError`: `path` can not be read."""
  try:
    yield
  except OSError as error:
    raise errors.UserError(
      f'{os.fspath(path)} can not be read: {error.strerror or error}.'
    ) from error


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
  path = _path(path)
  if is_remote(path):
    with _uploading(path) as file:
      yield file
    return
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
  path = _path(path)
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
  if is_remote(path):
    _path(path).write_bytes(text.encode())
    return
  with replacing(path) as file:
    file.write(text.encode())


def append_line(path, line):
  """Appends a line in one write, and closes the file: a crash loses none.

  After a line that a crash cut short, this one starts afresh. In a store, all
  lines are written anew: only for files of few lines, with one writer.

  Raises:
    OSError: the file can't be written, or is a symbolic link or no file.
  """
  if is_remote(path):
    _append_to_object(_path(path), line)
    return
  with opened_in_place(path, 'ab+') as file:
    is_cut = False
    if file.seek(0, os.SEEK_END):
      file.seek(-1, os.SEEK_END)
      is_cut = file.read(1) != b'\n'
    file.write(f'\n{line}\n'.encode() if is_cut else f'{line}\n'.encode())


def opened_in_place(path, mode):
  """Returns a file, made if needed, to append to or to write over.

  Raises:
    OSError: it can't be opened, or is a symbolic link or no regular file.
  """
  flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
  flags |= os.O_APPEND if 'a' in mode else 0
  # A FIFO does not block, and is then refused.
  descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
  try:
    _check_regular(descriptor, path)
    return open(descriptor, mode)
  except BaseException:
    os.close(descriptor)
    raise


def refuse_links(folder, patterns):
  """Raises UserError where a name in a folder is a symbolic link.

  Args:
    folder: in which something is going to be written.
    patterns: of the names that are written, as of `fnmatch`.
  """
  if is_remote(folder):
    return
  for entry in os.scandir(folder):
    if entry.is_symlink() and any(
      fnmatch.fnmatch(entry.name, pattern) for pattern in patterns
    ):
      raise errors.UserError(
        f'{entry.path} is a symbolic link, through which other files would be '
        'overwritten: remove it, or give another folder.'
      )


def make_private(folder):
  """Makes a folder that nobody else may read or write.

  From one that is there already, others lose the permission to write. Who may
  write to a store is for its bucket to say.
  """
  if is_remote(folder):
    return
  folder = pathlib.Path(folder)
  folder.mkdir(mode=0o700, parents=True, exist_ok=True)
  status = folder.stat()
  if status.st_uid == os.geteuid() and status.st_mode & _OTHERS_WRITE:
    folder.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS_WRITE)


def open_regular(path, buffering=-1):
  """Opens a file for reading; a FIFO or a device would give no end of bytes.

  Args:
    path: of the file.
    buffering: as of `open`.

  Raises:
    OSError: it can't be read, or is no regular file.
  """
  if is_remote(path):
    return _path(path).open()
  descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
  try:
    _check_regular(descriptor, path)
    return open(descriptor, 'rb', buffering)
  except BaseException:
    os.close(descriptor)
    raise


def read_bytes(path, max_bytes):
  """Returns what is in a regular file.

  Raises:
    OSError: it can't be read, is no regular file, or is larger than that.
  """
  if is_remote(path):
    return _read_object(_path(path), max_bytes)
  with open_regular(path) as file:
    is_over = os.fstat(file.fileno()).st_size > max_bytes
    data = b'' if is_over else file.read(max_bytes + 1)
  if is_over or len(data) > max_bytes:
    raise OSError(errno.EFBIG, f'over {max_bytes} bytes', os.fspath(path))
  return data


def read_json(path, max_bytes=MAX_JSON, finite=True):
  """Returns what the JSON in a file stands for.

  Args:
    path: of the file.
    max_bytes: see `read_bytes`.
    finite: see `parse_json`.

  Raises:
    OSError: as `read_bytes`.
    ValueError: as `parse_json`.
  """
  return parse_json(read_bytes(path, max_bytes), finite)


def parse_json(data, finite=True):
  """Returns what JSON stands for.

  Args:
    data: text, or bytes in UTF-8.
    finite: refuses NaN and Infinity, which JSON does not have.

  Raises:
    ValueError: it is no JSON, is nested deeper than `MAX_DEPTH`, or uses a name
      twice.
  """
  try:
    if isinstance(data, bytes):
      data = data.decode()
    found = json.loads(
      data,
      object_pairs_hook=_unique,
      parse_constant=_no_constant if finite else None,
    )
  except RecursionError as error:
    raise ValueError('it is nested too deeply') from error
  level = [found]
  for _ in range(MAX_DEPTH + 1):
    tables = [each for each in level if isinstance(each, dict)]
    lists = [each for each in level if isinstance(each, list)]
    if not tables and not lists:
      return found
    level = [inner for each in tables for inner in each.values()]
    level += [inner for each in lists for inner in each]
  raise ValueError('it is nested too deeply')


def read_lines(path, max_bytes=MAX_LINES):
  """Returns the lines of a UTF-8 file, without their ends; [] if there is none.

  A crash may have cut any of them short.

  Raises:
    UserError: it can't be read, is no regular file, or is larger than that.
  """
  try:
    text = read_bytes(path, max_bytes).decode(errors='replace')
  except FileNotFoundError:
    return []
  except OSError as error:
    raise errors.UserError(
      f'{path} can not be read: {error.strerror or error}.'
    ) from error
  lines = text.split('\n')
  return lines if lines[-1] else lines[:-1]


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


def sizes(paths):
  """Returns {path: bytes} of files; a folder of a store is asked for once.

  Raises:
    OSError: one is not there, or can't be asked for; it names the path.
  """
  listed, found = {}, {}
  for name in paths:
    path = _path(name)
    if not is_remote(path):
      found[name] = path.stat().st_size
      continue
    if path.parent not in listed:
      listed[path.parent] = dict(path.parent.listing())
    found[name] = listed[path.parent].get(path.name)
    if found[name] is None:
      raise FileNotFoundError(errno.ENOENT, 'there is no file', str(path))
  return found


@contextlib.contextmanager
def _uploading(path):
  """Yields a local file that becomes an object once all went well."""
  with tempfile.NamedTemporaryFile(suffix=path.suffix) as file:
    yield file
    file.flush()
    path.upload(file.name)


def _append_to_object(path, line):
  try:
    text = path.read_bytes()
  except FileNotFoundError:
    text = b''
  path.write_bytes(text + f'{line}\n'.encode())


def _read_object(path, max_bytes):
  data = path.read_bytes(0, max_bytes + 1)  # One request, whatever its size.
  if len(data) > max_bytes:
    raise OSError(errno.EFBIG, f'over {max_bytes} bytes', str(path))
  return data


def _check_regular(descriptor, path):
  if not stat.S_ISREG(os.fstat(descriptor).st_mode):
    raise OSError(errno.EINVAL, 'it is no regular file', os.fspath(path))


def _unique(pairs):
  table = dict(pairs)
  if len(table) != len(pairs):
    raise ValueError('a name is used twice')
  return table


def _no_constant(constant):
  raise ValueError(f'{constant} is no number of JSON')
