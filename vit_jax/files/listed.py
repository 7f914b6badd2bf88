"""Folders of a store that are listed once: no question about a name is asked.

A data set of a thousand folders is looked at in many ways before its first
image is read. On a disk that costs nothing; of a store, each look is a request.
"""

from concurrent import futures
from typing import NamedTuple

from vit_jax.files import remote

_NUM_THREADS = 16  # They wait for the store.


class Names(NamedTuple):
  """What is in a folder.

  Attributes:
    folders: names.
    files: {name: bytes}.
  """

  folders: set
  files: dict


class ListedPath(remote.RemotePath):
  """A path in a store; what is in the folders below it is asked for once.

  Args:
    path: text or `RemotePath` of the folder on top.
  """

  def __init__(self, path, top=None, known=None):
    super().__init__(path)
    self._top = self.parts if top is None else top
    self._known = {} if known is None else known

  def joinpath(self, *names):
    return self.with_key(super().joinpath(*names).parts)

  def with_key(self, parts):
    path = super().with_key(parts)
    return ListedPath(path, self._top, self._known)

  def entries(self):
    names = self._names()
    found = [(name, True) for name in names.folders]
    found += [(name, False) for name in names.files]
    return [(self / name, is_folder) for name, is_folder in sorted(found)]

  def is_known(self):
    """Returns whether this folder has been listed."""
    return self.key in self._known

  def size_of(self, name):
    """Returns the bytes of a file in or below this folder; None: there is none.

    Args:
      name: path in this folder, of a folder that has been listed.
    """
    folder, _, base = name.rpartition('/')
    known = self._known.get(f'{self.key}/{folder}' if folder else self.key)
    return known and known.files.get(base)

  def _kind(self):
    if not self._is_below():
      return super()._kind()
    beside = self.parent._names()
    if self.name in beside.files:
      return 'file'
    return 'directory' if self.name in beside.folders else None

  def _is_below(self):
    top = len(self._top)
    return len(self.parts) > top and self.parts[:top] == self._top

  def _names(self):
    """Returns the `Names` of this folder."""
    if self.key not in self._known:
      names = Names(set(), {})
      for name, size in self.listing():
        if size is None:
          names.folders.add(name)
        else:
          names.files[name] = size
      self._known[self.key] = names
    return self._known[self.key]


def ask(paths):
  """Lists folders by many threads, so that they are known afterwards.

  Args:
    paths: `ListedPath`s.

  Raises:
    OSError: one can't be listed.
  """
  unknown = [path for path in paths if not path.is_known()]
  if unknown:
    with futures.ThreadPoolExecutor(_NUM_THREADS) as threads:
      list(threads.map(ListedPath.entries, unknown))
