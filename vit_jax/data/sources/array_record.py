"""ArrayRecord files of object stores.

The library reads files of a disk and, where there are credentials of Google's
cloud, gs:// by itself: each record by a request of its own. Everything else is
copied to this machine, file by file as records of them are asked for.
"""

import bisect
import dataclasses
import functools
import itertools
import os
import threading

from array_record.python import array_record_module

from vit_jax import files
from vit_jax.data import bad_examples
from vit_jax.files import copies

# As Grain reads them: records in any order, and so nothing ahead.
_OPTIONS = 'readahead_buffer_size:0'
_BUFFER = 32 << 10  # Bytes.


def is_readable(path):
  """Returns whether the library reads a file where it lies."""
  path = os.fspath(path)
  if not files.is_remote(path):
    return True
  return path.startswith('gs://') and _has_credentials()


@functools.cache
def _has_credentials():
  """Returns whether there are credentials; without any, the library waits."""
  if 'CLOUD_STORAGE_EMULATOR_ENDPOINT' in os.environ:
    return True
  from google import auth  # What gcsfs needs, too.

  try:
    auth.default()
  except auth.exceptions.GoogleAuthError:
    return False
  return True


def copied(instructions):
  """Returns the `CopiedRecords` of TFDS's instructions for a split.

  Raises:
    UserError: the files can't be read, or there is no room for their copies.
  """
  paths = list(dict.fromkeys(file.filename for file in instructions))
  folder = files.path(paths[0]).parent
  with files.asking(folder):
    size = copies.missing([files.path(path) for path in paths])
  if size:
    copies.check_room(size, f'ArrayRecord in {folder}')
  return CopiedRecords(tuple(instructions))


@dataclasses.dataclass(eq=False)
class CopiedRecords:
  """The records of parts of files in a store, as a sequence of bytes.

  Attributes:
    files: TFDS's instructions: which parts of which files, in order.
  """

  files: tuple

  def __post_init__(self):
    self._ends = list(itertools.accumulate(file.take for file in self.files))
    self._locks = {file.filename: threading.Lock() for file in self.files}
    self._readers = {}

  def __len__(self):
    return self._ends[-1]

  def __getitem__(self, index):
    """Returns the bytes of a record.

    Raises:
      BrokenShardError: the file can't be read.
    """
    part = bisect.bisect_right(self._ends, index)
    file = self.files[part]
    number = file.skip + index - (self._ends[part] - file.take)
    return self._reader(file.filename).read([number])[0]

  def __getstate__(self):
    return {'files': self.files}

  def __setstate__(self, state):
    self.__init__(**state)

  def _reader(self, path):
    with self._locks[path]:
      if path not in self._readers:
        self._readers[path] = array_record_module.ArrayRecordReader(
          _copied(path), options=_OPTIONS, file_reader_buffer_size=_BUFFER
        )
      return self._readers[path]


def _copied(path):
  try:
    return os.fspath(copies.local(path, say=False))
  except OSError as error:
    raise bad_examples.BrokenShardError(
      f'{path} can not be read: {error.strerror or error}.'
    ) from error
