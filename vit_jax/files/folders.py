"""Folders on a disk, and what takes their place in a store."""

import contextlib
import errno
import os
import pathlib
import secrets
import shutil
import tempfile

from vit_jax import errors, files


def check(folder):
  """Makes a folder, and tries all in it that a run will need.

  A mounted bucket looks like a disk and may lack some of it.

  Raises:
    UserError: it can be written to, but can't do what a disk can.
    OSError: it can't be written to.
  """
  folder = files.path(folder)
  probe = folder / f'.probe_{secrets.token_hex(8)}'
  if files.is_remote(folder):
    probe.touch()
    probe.unlink()
    return
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryFile(dir=folder):
    pass
  probe.mkdir()
  renamed = probe.with_suffix('.renamed')
  try:
    with open(probe / 'file', 'xb') as file:
      file.write(b'x')
    with contextlib.suppress(FileExistsError), open(probe / 'file', 'xb'):
      raise OSError(errno.ENOTSUP, 'an existing file is created once more')
    probe.rename(renamed)
  except OSError as error:
    raise errors.UserError(
      f'{folder} is on a file system that can not do what a run needs, create '
      f'files exclusively and rename folders ({error.strerror or error}), as '
      'a mounted bucket: give the bucket itself, gs://... or s3://..., or '
      'another disk.'
    ) from error
  finally:
    for left in probe, renamed:
      shutil.rmtree(left, ignore_errors=True)


def walk(folder):
  """Returns {path: bytes} of all files in a folder and those below.

  Links are not followed; what is removed meanwhile is left out.
  """
  folder = files.path(folder)
  if files.is_remote(folder):
    return folder.walk()
  found = {}
  for parent, _, names in os.walk(folder):
    for name in names:
      file = pathlib.Path(parent, name)
      with contextlib.suppress(OSError):
        found[file] = file.lstat().st_size
  return found


def remove(folder, first=()):
  """Removes a folder and all in it; does nothing if there is none.

  Args:
    folder: path.
    first: names of files in it that go before all others.

  Raises:
    OSError: something in it can't be removed.
  """
  folder = files.path(folder)
  for name in first:
    (folder / name).unlink(missing_ok=True)
  if files.is_remote(folder):
    for file in folder.walk():
      file.unlink(missing_ok=True)
  elif folder.exists():
    shutil.rmtree(folder)


def move(folder, target, first=()):
  """Gives a folder another name, where there is none.

  Args:
    folder: path.
    target: path of the same kind.
    first: names of files that, in a store, are the first to leave `folder`:
      half moved, it is not taken for a whole one.

  Raises:
    OSError: it can't be moved.
  """
  folder, target = files.path(folder), files.path(target)
  if not files.is_remote(folder):
    folder.rename(target)
    return
  for file in folder.walk():
    file.copy(target / file.relative_to(folder))
  remove(folder, first)
