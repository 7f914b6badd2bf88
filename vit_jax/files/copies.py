"""Local copies of objects, for what reads files of a disk alone.

A copy lies in the user's cache, under the version of its object: one that has
changed since is copied anew. Half a copy is never read; it is gone on with. The
cache may be removed whenever nobody uses it.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from concurrent import futures

from vit_jax import errors, files
from vit_jax.files import cache, remote

_CHUNK = 32 << 20  # Bytes of a request.
_ATTEMPTS = 3  # For an object that is replaced while it is copied.
_MAX_NAME = 100  # Bytes of a name in the cache.
_NUM_THREADS = 16  # They wait for the store.


def folder():
  """Returns the folder of all copies."""
  return cache.folder() / 'objects'


def local(path, say=True):
  """Returns the path of a copy on this machine; of a file on it, its own.

  Args:
    path: of the file.
    say: whether to tell that it is copied.

  Raises:
    OSError: it can't be read.
    UserError: there is no room for it, or it is replaced again and again.
  """
  path = files.path(path)
  if not files.is_remote(path):
    return path
  for _ in range(_ATTEMPTS):
    version = path.version()
    target = _target(path, version)
    if _is_whole(target, version):
      return target
    if say:
      check_room(version.size, path)
    _make_folder(target.parent)
    if _copy(path, version, target):
      return target
  raise errors.UserError(
    f'{path} is replaced again and again while it is read; copy it elsewhere.'
  )


def missing(paths):
  """Returns how many bytes of some objects are not copied yet.

  Raises:
    OSError: one can't be asked for.
  """
  with futures.ThreadPoolExecutor(_NUM_THREADS) as threads:
    versions = list(threads.map(remote.RemotePath.version, paths))
  return sum(
    version.size
    for path, version in zip(paths, versions)
    if not _is_whole(_target(path, version), version)
  )


def check_room(size, what):
  """Tells that something is going to be copied, if there is room for it.

  Args:
    size: in bytes.
    what: is copied, for the line.

  Raises:
    UserError: there is none.
  """
  _make_folder(folder())
  free = shutil.disk_usage(folder()).free
  if size > free:
    raise errors.UserError(
      f'{what} has {_in_units(size)}, and {folder()}, where it has to be '
      f'copied to, has room for {_in_units(free)}; free some, or set '
      f'{cache.VARIABLE} to a folder on another disk.'
    )
  line = f'{what} ({_in_units(size)}) is copied to {folder()}'
  print(errors.shown(line), file=sys.stderr)


def _make_folder(path):
  with files.reported(path):
    files.make_private(cache.folder())
    path.mkdir(parents=True, exist_ok=True)


def _target(path, version):
  text = f'{path}\n{version.text}'
  digest = hashlib.sha256(text.encode()).hexdigest()[:24]
  name = path.name
  if not name.isprintable() or len(name.encode()) > _MAX_NAME:
    name = f'object{path.suffix[:20]}'
  return folder() / digest / name


def _is_whole(target, version):
  try:
    return target.stat().st_size == version.size
  except FileNotFoundError:
    return False


def _copy(path, version, target):
  """Returns whether there is a copy now: not if the object is another one."""
  part = target.with_name(f'{target.name}.part')
  with files.opened_in_place(part, 'ab') as file:
    fcntl.flock(file, fcntl.LOCK_EX)  # Other processes and threads copy, too.
    if _is_whole(target, version):
      part.unlink(missing_ok=True)  # Made after another one was renamed.
      return True
    try:
      _append(path, version, file)
    except FileNotFoundError:
      file.truncate(0)
      raise
    is_same = path.version() == version and _has_digest(part, version)
    if is_same:
      files.put(part, target)
    else:
      file.truncate(0)
  return is_same


def _append(path, version, file):
  """Appends what is missing of an object."""
  have = file.seek(0, os.SEEK_END)
  if have > version.size:
    have = file.truncate(0)
  while have < version.size:
    data = path.read_bytes(have, min(have + _CHUNK, version.size))
    if not data:
      return  # It has become smaller.
    file.write(data)
    have += len(data)
  file.flush()


def _has_digest(part, version):
  if part.stat().st_size != version.size:
    return False
  if version.md5 is None:
    return True
  with files.open_regular(part) as file:
    digest = hashlib.file_digest(
      file, lambda: hashlib.md5(usedforsecurity=False)
    )
  return digest.hexdigest() == version.md5


def _in_units(size):
  for unit in 'bytes', 'kB', 'MB', 'GB':
    if size < 1000:
      return f'{size:.1f} {unit}' if unit != 'bytes' else f'{size} bytes'
    size /= 1000
  return f'{size:.1f} TB'
