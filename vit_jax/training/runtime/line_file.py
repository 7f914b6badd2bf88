"""A file that gets lines as they come, and whose failure ends nothing."""

import contextlib
import threading
import time

from vit_jax import files

STORE_SECONDS = 30.0  # An object has to be written anew for each line.
PATIENCE = 2.0  # Seconds that a line waits for one of another thread.


class LineFile:
  """Appends lines to a file; none is lost while it can't be written.

  On a disk, each is there at once. To a store they go together, every
  `STORE_SECONDS`, and when `flush` is called.

  Args:
    path: of the file; its folder exists, or is made.
    say: takes a line for the user, that the file can't be written: once, until
      it can be again.
    clock: returns seconds.
  """

  def __init__(self, path, say, clock=time.monotonic):
    self.path = files.path(path)
    self._say = say
    self._clock = clock
    self._unwritten = []
    self._last = None  # Time of the last write.
    self._is_told = False
    self._lock = threading.Lock()

  def append(self, lines):
    """Adds lines, from any thread."""
    with self._alone():
      self._unwritten += lines
      error = self._write() if self._is_due() else None
    self._tell(error)

  def flush(self):
    """Writes what is not written yet."""
    with self._alone():
      error = self._write()
    self._tell(error)

  def _is_due(self):
    if not files.is_remote(self.path) or self._last is None:
      return True
    return self._clock() - self._last >= STORE_SECONDS

  @contextlib.contextmanager
  def _alone(self):
    # A thread may end the process while another one is stuck in here.
    has_lock = self._lock.acquire(timeout=PATIENCE)
    try:
      yield
    finally:
      if has_lock:
        self._lock.release()

  def _write(self):
    """Returns the error that keeps the lines from being written, or None."""
    lines, self._unwritten = self._unwritten, []
    if not lines:
      return None
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      files.append_line(self.path, '\n'.join(lines))
    except OSError as error:
      self._unwritten = lines + self._unwritten
      return error
    self._last = self._clock()
    self._is_told = False
    return None

  def _tell(self, error):
    if error is not None and not self._is_told:
      self._is_told = True
      self._say(f'{self.path} cannot be written ({error}); continuing')
