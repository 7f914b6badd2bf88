"""Watches what a process does while it reads a stranger's file.

An audit hook notes every import, program, connection and file that the reader
has no business with.
"""

import contextlib
import os
import pathlib
import sys
import sysconfig
import tracemalloc  # noqa: F401 -- Else warnings import it, whenever one comes.

# Never of use to a reader, whatever their arguments.
_FORBIDDEN = (
  *('subprocess.', 'os.system', 'os.exec', 'os.posix_spawn', 'os.spawn'),
  *('os.fork', 'pty.', 'socket.connect', 'socket.bind', 'socket.getaddrinfo'),
  *('socket.sendto', 'urllib.', 'http.client.', 'ftplib.', 'webbrowser.'),
  'pickle.find_class',
)
# Change files; their first argument, and a second path, must be of the case.
_CHANGES = (
  *('os.remove', 'os.rename', 'os.rmdir', 'os.mkdir', 'os.link', 'os.symlink'),
  *('os.truncate', 'os.chmod', 'os.chown', 'os.utime', 'shutil.'),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Python, its packages and the checkout: code, which may be read.
_CODE = tuple(
  {
    *(os.path.realpath(path) for path in sysconfig.get_paths().values()),
    os.path.realpath(sys.base_prefix),
    str(_ROOT / 'vit_jax'),
    str(_ROOT / 'configs'),
  }
)
_SYSTEM = ('/proc/', '/sys/', '/dev/null', '/dev/urandom', '/etc/mime.types')


class Watch:
  """Notes events while `on`; there is one, since hooks stay for ever.

  Attributes:
    seen: what should not have happened: [text].
  """

  def __init__(self):
    self.on = False
    self.seen = []
    self._folders = ()
    self._known = set()
    sys.addaudithook(self)

  @contextlib.contextmanager
  def of(self, *folders):
    """Watches; only files in these folders may be opened."""
    self._folders = tuple(os.path.realpath(folder) for folder in folders)
    self._known = {name.partition('.')[0] for name in sys.modules}
    self.seen = []
    self.on = True
    try:
      yield self
    finally:
      self.on = False

  def __call__(self, event, arguments):
    if not self.on:
      return
    self.on = False  # Judging opens nothing, but may import.
    try:
      if not self._is_fine(event, arguments):
        self.seen.append(f'{event} {str(arguments)[:300]}')
    finally:
      self.on = True

  def _is_fine(self, event, arguments):
    if event == 'open':
      return self._may_open(*arguments)
    if event == 'import':
      return arguments[0].partition('.')[0] in self._known
    if event == 'exec':
      name = getattr(arguments[0], 'co_filename', '?')
      return name.startswith(('<frozen', *_CODE))
    if event == 'compile':
      # Text without a file is that of a literal, which `exec` would not run.
      name = os.fsdecode(arguments[1] or '<unknown>')
      return name in ('<unknown>', '<string>') or name.startswith(_CODE)
    if event.startswith(_CHANGES):
      paths = [each for each in arguments if isinstance(each, str | bytes)]
      return all(self._is_named(path) for path in paths)
    return not event.startswith(_FORBIDDEN)

  def _may_open(self, path, mode, flags):
    if not isinstance(path, str | bytes):
      return True  # A descriptor, which was opened before.
    path = os.fsdecode(path)
    writes = flags & _WRITES if isinstance(flags, int) else 0
    writes = writes or (isinstance(mode, str) and set(mode) & set('wax+'))
    if self._is_named(path):
      return True
    real = os.path.realpath(path)
    return not writes and real.startswith((*_CODE, *_SYSTEM))

  def _is_named(self, path):
    """Whether the file itself, past all links, is in one of the folders."""
    real = os.path.realpath(os.fsdecode(path))
    return any(
      real == folder or real.startswith(f'{folder}/')
      for folder in self._folders
    )


def peak_bytes():
  """Returns the most memory that this process has held since `reset_peak`."""
  return _status('VmHWM')


def mapped_bytes():
  """Returns how much address space this process has."""
  return _status('VmSize')


def _status(name):
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith(f'{name}:'):
      return int(line.split()[1]) << 10
  raise OSError(f'no {name} in /proc/self/status')


def reset_peak():
  """Starts to measure anew; returns what is held now."""
  pathlib.Path('/proc/self/clear_refs').write_text('5')
  return peak_bytes()
