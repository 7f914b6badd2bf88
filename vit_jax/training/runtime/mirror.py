"""The files of a run that grow while it goes on, wherever its folder is.

A store appends nothing. For a run in a store, they grow in a temporary folder
on the disk, and are copied to the store, each as a whole, every half minute, at
a checkpoint and at the end. What a kill loses of the metrics is written again
by the run that resumes, whose checkpoint has them.
"""

import os
import pathlib
import tempfile
import threading

from vit_jax import files
from vit_jax.files import folders

SECONDS = 30.0  # Between two copies.


class Mirror:
  """A context in which such files are kept.

  Args:
    workdir: path of the run's folder.
    say: takes a line for the user about what has happened.

  Attributes:
    folder: `pathlib.Path` to write them to: `workdir` itself, if on a disk.
  """

  def __init__(self, workdir, say=print):
    self._workdir = files.path(workdir)
    self._say = say
    self._is_remote = files.is_remote(workdir)
    self._copied = {}  # Size and time of what the store has, by name.
    self._is_failing = False
    self._asked, self._ended = threading.Event(), False
    if self._is_remote:
      self._temporary = tempfile.TemporaryDirectory(prefix='vit_jax_')
      self.folder = pathlib.Path(self._temporary.name)
    else:
      self.folder = self._workdir

  def __enter__(self):
    if self._is_remote:
      self._thread = threading.Thread(target=self._run, daemon=True)
      self._thread.start()
    return self

  def __exit__(self, *_):
    if self._is_remote:
      self._ended = True
      self._asked.set()
      self._thread.join()
      self._temporary.cleanup()

  def fetch(self, name):
    """Has a file of an earlier start in `folder`, to be continued.

    Raises:
      OSError: there is one, and it can't be read.
    """
    path = self._workdir / name
    if self._is_remote and path.is_file():
      (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
      path.download(self.folder / name)

  def push(self):
    """Copies what has changed, soon and in the background."""
    self._asked.set()

  def _run(self):
    """Runs in a thread."""
    is_last = False
    while not is_last:
      self._asked.wait(SECONDS)
      self._asked.clear()
      is_last = self._ended
      self._copy()

  def _copy(self):
    try:
      for path in sorted(folders.walk(self.folder)):
        status = path.stat()
        state = (status.st_size, status.st_mtime_ns)
        name = os.fspath(path.relative_to(self.folder))
        # Of what is being replaced, there will be news.
        if self._copied.get(name) != state and path.suffix != files.UNFINISHED:
          (self._workdir / name).upload(path)
          self._copied[name] = state
      self._is_failing = False
    except FileNotFoundError:  # Replaced meanwhile.
      self._asked.set()
    except OSError as error:  # A store in trouble is no reason to stop.
      if not self._is_failing:
        self._say(f'{self._workdir} cannot be written ({error}); continuing')
      self._is_failing = True
