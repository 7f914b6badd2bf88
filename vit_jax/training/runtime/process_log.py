"""What a process says: to its terminal, and into a log of its own.

The log is WORKDIR/logs/process_<k>.log; each start of the run appends to it. It
holds all lines of the process, warnings and logging of other packages, and the
error that ends it, each line with its time, host and process. What is said
before the workdir is known comes first; what is said after the run, last.
"""

import contextlib
import datetime
import logging
import socket
import sys
import traceback
import warnings

from vit_jax import errors, files
from vit_jax.training.runtime import line_file

FOLDER = 'logs'


class ProcessLog:
  """The log of this process; there is one at a time, `CURRENT`.

  Attributes:
    folder: of the run; None before there is one.

  Args:
    now: returns a `datetime.datetime` with a time zone.
  """

  def __init__(self, now=lambda: datetime.datetime.now().astimezone()):
    self._now = now
    self.folder = None
    self._file = None
    self._early = []  # Lines from before the file is known.

  def begin(self, workdir=None):
    """Begins a run: what is said from now on is no longer of the one before.

    Args:
      workdir: folder of the run, which may be in a store.
    """
    self.folder = workdir
    self.close()

  def close(self):
    """Ends the log; what is said later comes first in the next one."""
    self._file = None

  @contextlib.contextmanager
  def opened(self, workdir, plain=(errors.UserError,)):
    """A context in which lines go to the log in the folder of a run.

    Whatever ends it, the reason is the last line.

    Args:
      workdir: folder to write to, on a disk; exists.
      plain: errors whose message says all; others come with a traceback.
    """
    self._file = line_file.LineFile(path(workdir, _process()[0]), _print)
    early, self._early = self._early, []
    self._file.append(early)
    try:
      with _captured(self.write):
        yield
    except BaseException as error:
      self.write(_reason(error, plain))
      raise
    else:
      self.write('end: done')

  def write(self, text):
    """Writes lines into the log, if not to the terminal."""
    if not text.strip():
      return
    lines = [self._stamped(line) for line in _lines(text)]
    if self._file is None:
      self._early += lines
    else:
      self._file.append(lines)

  def shown(self, text):
    """Returns lines as the terminal shows them: with their time.

    Of several processes, also with the number of this one and its host.
    """
    number, count = _process()
    who = f' [{number} {socket.gethostname()}]' if count > 1 else ''
    time = f'{self._now():%Y-%m-%d %H:%M:%S}'
    return '\n'.join(f'{time}{who} {line}' for line in _lines(text))

  def say(self, text):
    """Shows lines at once, from any thread, and writes them into the log."""
    _print(self.shown(text))
    self.write(text)

  def _stamped(self, line):
    time = self._now().isoformat(timespec='milliseconds')
    return f'{time} {socket.gethostname()} process {_process()[0]}: {line}'


CURRENT = ProcessLog()


def path(workdir, number):
  """Returns the path of the log of a process."""
  return files.path(workdir) / FOLDER / f'process_{number}.log'


def _process():
  """Returns the number of this process, and how many there are.

  It imports no JAX, and has it look for no devices.
  """
  distributed = sys.modules.get('jax._src.distributed')
  if distributed is None:
    return 0, 1
  state = distributed.global_state
  return state.process_id, state.num_processes


def _print(text):
  print(text, file=sys.stderr, flush=True)


def _lines(text):
  return errors.shown(text).rstrip().split('\n')


def _reason(error, plain):
  if isinstance(error, plain):
    notes = getattr(error, '__notes__', ())
    return '\n'.join([f'end: {error}', *notes])
  return ''.join(traceback.format_exception(error)) + 'end: an error, as above'


@contextlib.contextmanager
def _captured(write):
  """A context in which warnings and logging are written, too."""
  root, show = logging.getLogger(), warnings.showwarning

  def show_and_write(message, category, filename, lineno, *rest, **options):
    show(message, category, filename, lineno, *rest, **options)
    write(f'{category.__name__}: {message} ({filename}:{lineno})')

  # Where there is no handler, Python has one of last resort.
  added = [] if root.handlers else [logging.lastResort]
  added.append(_Handler(write))
  for handler in added:
    root.addHandler(handler)
  warnings.showwarning = show_and_write
  try:
    yield
  finally:
    if warnings.showwarning is show_and_write:
      warnings.showwarning = show
    for handler in added:
      root.removeHandler(handler)


class _Handler(logging.Handler):
  """Writes what other packages log, from warnings on."""

  def __init__(self, write):
    super().__init__(logging.WARNING)
    self._write = write

  def emit(self, record):
    with contextlib.suppress(Exception):  # As logging itself: it ends nothing.
      self._write(f'{record.levelname}: {record.name}: {record.getMessage()}')
