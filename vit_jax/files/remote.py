"""Files of object stores, gs:// and s3://, reached through fsspec.

A store has no folders, links, renames and appends: an object appears whole or
not at all, under its full name, and replaces what had that name. What local
files do beyond that is made of this alone (see docs/object_stores.md).
"""

import base64
import collections
import contextlib
import errno
import fnmatch
import functools
import importlib
import os
import posixpath
import random
import re
import time
import urllib.parse

from vit_jax import errors

SCHEMES = {'gs': 'gcsfs', 's3': 's3fs'}  # And the library that each needs.

_TRIES = 4  # Of a call whose failure may pass,
_PATIENCE = 10.0  # unless its library has tried for so many seconds.
_PAUSE = 0.5  # Seconds before the second of them; then twice as many.
_LASTING = (
  *(FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError),
  *(IsADirectoryError, ValueError, TypeError, NotImplementedError),
)
_NUMBERS = {
  FileNotFoundError: errno.ENOENT,
  FileExistsError: errno.EEXIST,
  PermissionError: errno.EACCES,
}
_DENIED = re.compile(
  r'forbidden|access ?denied|\b403\b|unauthorized|unable to locate credentials'
  r'|anonymous caller|invalidaccesskeyid|signaturedoesnotmatch|expiredtoken'
)

Status = collections.namedtuple('Status', ['st_size', 'st_mtime'])
# Which one of all that had its name an object is: a text that no other has, its
# bytes, and their MD5 in hexadecimal, or None.
Version = collections.namedtuple('Version', ['text', 'size', 'md5'])
_VERSIONED = ('generation', 'etag', 'ETag', 'mtime', 'LastModified')
_BEYOND = ('not satisfiable', 'cannot be satisfied', 'invalidrange')  # Ranges.


class _BeyondError(OSError):
  """No byte of the range that was asked for is there."""


def is_remote(path):
  """Returns whether a path has a scheme, as gs://bucket/folder."""
  return '://' in os.fspath(path)


def check(path):
  """Raises UserError where a path is of a store that can't be used here."""
  scheme, _, rest = os.fspath(path).partition('://')
  if scheme not in SCHEMES:
    known = ', '.join(f'{name}://' for name in SCHEMES)
    raise errors.UserError(
      f'{os.fspath(path)}: {scheme}:// is not supported; give a path on a '
      f'disk or one of {known}.'
    )
  if not rest.strip('/').partition('/')[0]:
    raise errors.UserError(f'{os.fspath(path)} names no bucket.')
  try:
    importlib.import_module(SCHEMES[scheme])
  except ImportError as error:
    extra = {'gs': 'gcs'}.get(scheme, scheme)
    raise errors.UserError(
      f'{scheme}:// needs {SCHEMES[scheme]}: pip install "vit_jax[{extra}]".'
    ) from error
  _configured()


class RemotePath:
  """The path of an object, or of all objects whose names start with it.

  Has those methods of `pathlib.Path` that make sense in a store.

  Args:
    path: text, as gs://bucket/folder/name.
  """

  def __init__(self, path):
    self._scheme, _, rest = os.fspath(path).partition('://')
    rest = posixpath.normpath(f'/{rest}').lstrip('/')
    self.parts = tuple(rest.split('/'))

  # The name -------------------------------------------------------------------

  def __fspath__(self):
    return f'{self._scheme}://{self.key}'

  __str__ = __fspath__

  def __repr__(self):
    return f'RemotePath({str(self)!r})'

  def __eq__(self, other):
    return isinstance(other, RemotePath) and str(self) == str(other)

  def __lt__(self, other):
    return str(self) < str(other)

  def __hash__(self):
    return hash(str(self))

  def __truediv__(self, name):
    return self.joinpath(name)

  def joinpath(self, *names):
    """Returns the path of a name in this folder; absolute ones are refused."""
    for name in names:
      if os.fspath(name).startswith('/') or is_remote(name):
        raise ValueError(f'{os.fspath(name)!r} is not relative to {self}')
    return RemotePath('/'.join([str(self), *map(os.fspath, names)]))

  @property
  def key(self):
    """The bucket and the name in it."""
    return '/'.join(self.parts)

  @property
  def name(self):
    """The last part."""
    return self.parts[-1]

  @property
  def suffix(self):
    """The end of the name, from its last dot on."""
    return posixpath.splitext(self.name)[1]

  @property
  def stem(self):
    """The name without its suffix."""
    return posixpath.splitext(self.name)[0]

  @property
  def parent(self):
    """The folder above; a bucket is its own parent."""
    return self.with_key(self.parts[:-1] or self.parts)

  @property
  def parents(self):
    """All folders above, the nearest first."""
    return [
      self.with_key(self.parts[:end])
      for end in range(len(self.parts) - 1, 0, -1)
    ]

  def with_key(self, parts):
    """Returns the path of these parts in the same store."""
    return RemotePath(f'{self._scheme}://{"/".join(parts)}')

  def with_name(self, name):
    """Returns the path of another name in the same folder."""
    return self.parent / name

  def with_suffix(self, suffix):
    """Returns the path of this name with another suffix."""
    return self.with_name(self.stem + suffix)

  def relative_to(self, folder):
    """Returns the text of the name within a folder."""
    if not self.is_relative_to(folder):
      raise ValueError(f'{self} is not in {folder}')
    return '/'.join(self.parts[len(folder.parts) :])

  def is_relative_to(self, folder):
    """Returns whether this is a folder or in it."""
    return str(folder).split('://')[0] == self._scheme and (
      self.parts[: len(folder.parts)] == folder.parts
    )

  def absolute(self):
    """Returns the same path."""
    return self

  resolve = expanduser = absolute

  def as_posix(self):
    """Returns the path as text."""
    return str(self)

  # What is there --------------------------------------------------------------

  def exists(self):
    """Returns whether there is such an object, or one in such a folder."""
    return self._kind() is not None

  def is_file(self):
    """Returns whether there is an object of this very name."""
    return self._kind() == 'file'

  def is_dir(self):
    """Returns whether there are objects in a folder of this name."""
    return self._kind() == 'directory'

  def is_symlink(self):
    """Returns False: there are none."""
    return False

  def stat(self):
    """Returns the `Status` of an object: its bytes, and when it was written.

    Raises:
      OSError: there is none, or the store can't be asked.
    """
    info = self._call('info')
    if info['type'] != 'file':
      raise FileNotFoundError(errno.ENOENT, 'there is no file', str(self))
    written = info.get('mtime') or info.get('LastModified')
    return Status(info['size'], written.timestamp() if written else 0.0)

  def version(self):
    """Returns the `Version` of an object.

    Raises:
      OSError: there is none, or the store can't be asked.
    """
    info = self._call('info', refresh=True)
    if info['type'] != 'file':
      raise FileNotFoundError(errno.ENOENT, 'there is no file', str(self))
    text = ' '.join(f'{info.get(name)}' for name in _VERSIONED)
    md5 = info.get('md5Hash')
    md5 = base64.b64decode(md5).hex() if isinstance(md5, str) else None
    return Version(f'{text} {info["size"]}', info['size'], md5)

  def iterdir(self):
    """Returns the paths in this folder, sorted; empty if there is none."""
    return [path for path, _ in self.entries()]

  def entries(self):
    """Returns (path, whether it is a folder) of all in this folder, sorted."""
    return sorted((self / name, size is None) for name, size in self.listing())

  def listing(self):
    """Returns [(name, bytes; None of a folder)] of all in this folder."""
    try:
      found = self._call('ls', detail=True, refresh=True)
    except FileNotFoundError:
      return []
    return [
      (
        info['name'].rstrip('/').split('/')[-1],
        info['size'] if info['type'] == 'file' else None,
      )
      for info in found
      if info['name'].rstrip('/') != self.key
    ]

  def glob(self, pattern):
    """Returns the paths in this folder whose names match, as of `fnmatch`."""
    return [
      path for path in self.iterdir() if fnmatch.fnmatch(path.name, pattern)
    ]

  def walk(self):
    """Returns {path: bytes} of all objects in this folder and those below."""
    try:
      found = self._call('find', detail=True, refresh=True)
    except FileNotFoundError:
      return {}
    return {
      self.with_key(name.split('/')): info['size']
      for name, info in sorted(found.items())
      if info['type'] == 'file' and not name.endswith('/')
    }

  # Reading and writing --------------------------------------------------------

  def read_bytes(self, start=None, end=None):
    """Returns an object, or its bytes from `start` to `end`.

    There are fewer where the object ends before.

    Raises:
      OSError: it can't be read.
    """
    try:
      return self._call('cat_file', start=start, end=end)
    except _BeyondError:
      if self.stat().st_size <= start:
        return b''
      raise

  def read_text(self, encoding='utf-8'):
    """Returns an object as text."""
    return self.read_bytes().decode(encoding)

  def open(self, mode='rb'):
    """Opens an object for reading here and there."""
    if mode != 'rb':
      raise ValueError(f'{self} can be opened for reading alone')
    return self._call('open', 'rb')

  def write_bytes(self, data):
    """Replaces an object, as a whole."""
    self._call('pipe_file', data)

  def create(self, data):
    """Writes an object that must not be there yet, of whomever.

    Args:
      data: bytes that nobody else would write.

    Raises:
      FileExistsError: it is there.
      OSError: it can't be written.
    """
    try:
      self._call('pipe_file', data, mode='create')
    except FileExistsError:
      if self.read_bytes() != data:  # Else a repeated request met itself.
        raise

  def upload(self, file):
    """Replaces an object by what is in a local file."""
    self._call('put_file', os.fspath(file), reverse=True)

  def download(self, file):
    """Writes an object into a local file."""
    self._call('get_file', os.fspath(file))

  def copy(self, target):
    """Copies an object within the store."""
    self._call('cp_file', target.key)

  def touch(self):
    """Writes an empty object."""
    self.write_bytes(b'')

  def mkdir(self, mode=0o777, parents=False, exist_ok=False):
    """Does nothing: a folder is there once something is in it."""

  def unlink(self, missing_ok=False):
    """Removes an object."""
    try:
      self._call('rm_file')
    except FileNotFoundError:
      if not missing_ok:
        raise

  # ----------------------------------------------------------------------------

  def _kind(self):
    try:
      return self._call('info', refresh=True)['type']
    except (FileNotFoundError, NotADirectoryError):
      return None

  def _call(self, method, *args, reverse=False, **options):
    """Calls a method of the store, and once more if it may then succeed.

    Raises:
      OSError: of a kind that Python's own files raise.
    """
    for number in range(_TRIES):
      began = time.monotonic()
      try:
        with _as_os_error(self):
          call = getattr(filesystem(self._scheme), method)
          names = [*args, self.key] if reverse else [self.key, *args]
          return call(*names, **options)
      except (*_LASTING, _BeyondError):
        raise
      except OSError:
        has_tried = time.monotonic() - began > _PATIENCE
        if number == _TRIES - 1 or has_tried:
          raise
      time.sleep(_PAUSE * 2**number * (0.5 + random.random()))


@functools.cache
def filesystem(scheme):
  """Returns the `fsspec` file system of a store.

  Listings are never taken from a cache: other processes write, too.
  """
  return _configured().filesystem(scheme)


@functools.cache
def _configured():
  """Returns fsspec, by which all see what others write: orbax and TFDS, too.

  It takes a while to import, and paths alone don't need it.
  """
  import fsspec

  for protocol in 'gs', 'gcs', 's3':
    fsspec.config.conf.setdefault(protocol, {})['use_listings_cache'] = False
  if 'STORAGE_EMULATOR_HOST' in os.environ:  # Real buckets have a kind, users.
    os.environ.setdefault('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')
    for protocol in 'gs', 'gcs':
      fsspec.config.conf[protocol]['token'] = 'anon'
    os.environ.setdefault(  # ArrayRecord's own reader looks here.
      'CLOUD_STORAGE_EMULATOR_ENDPOINT', os.environ['STORAGE_EMULATOR_HOST']
    )
  return fsspec


@contextlib.contextmanager
def _as_os_error(path):
  """Turns what libraries raise into the OSError that says the same."""
  try:
    yield
  except _LASTING as error:
    if not isinstance(error, OSError) or error.filename is not None:
      raise
    kind = next(kind for kind in _LASTING if isinstance(error, kind))
    text = error.strerror or str(error)
    if kind is FileNotFoundError:  # Of libraries, it is the name alone.
      text = 'there is no such object or bucket'
    number = error.errno or _NUMBERS.get(kind, errno.EIO)
    raise kind(number, text[:300], str(path)) from error
  except Exception as error:
    text = ' '.join(str(error).split()) or type(error).__name__
    kind, number = OSError, errno.EIO
    if _DENIED.search(_without_name(text, path)):
      kind, number = PermissionError, errno.EACCES
    elif any(word in _without_name(text, path) for word in _BEYOND):
      kind, number = _BeyondError, errno.EINVAL
    raise kind(number, text[:300], str(path)) from error


def _without_name(text, path):
  """Returns an error's text in lower case, without the object's own name."""
  text = text.lower()
  for name in path.key, path.name:
    for spelt in name, urllib.parse.quote(name), urllib.parse.quote(name, ''):
      text = text.replace(spelt.lower(), '')
  return text
