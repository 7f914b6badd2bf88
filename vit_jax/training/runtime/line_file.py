"""A file that gets lines as they come, and whose failure ends nothing."""

import contextlib
import pathlib
import threading

from vit_jax import files

PATIENCE = 2.0  # Seconds that a line waits for one of another thread.


class LineFile:
  """Appends lines to a file at once; none is lost while it can't be written.

  Args:
    path: of the file; its folder exists, or is made.
    say: takes a line for the user, that the file can't be written: once, until
      it can be again.
  """

  def __init__(self, path, say):
    self.path = pathlib.Path(path)
    self._say = say
    self._unwritten = []
    self._is_told = False
    self._lock = threading.Lock()

  def append(self, lines):
    """Adds lines, from any thread."""
    with self._alone():
      self._unwritten += lines
      error = self._write()
    if error is not None and not self._is_told:
      self._is_told = True
      self._say(f'{self.path} cannot be written ({error}); continuing')

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
    self._is_told = False
    return None
