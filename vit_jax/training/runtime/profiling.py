"""Traces of a few steps by JAX's profiler, in WORKDIR/profile.

Of the steps of `run.profile_steps`, or of the next `ON_SIGNAL` after SIGUSR1. A
trace is written to a local folder and then stored, since the workdir may be far
away. Whatever goes wrong is told, and the run goes on.
"""

import contextlib
import pathlib
import shutil
import signal
import tempfile
import threading

import jax

from vit_jax import files

FOLDER = 'profile'
ON_SIGNAL = 10  # Steps.


class Profiler:
  """A context that traces steps of a run.

  In a thread other than the main one, which cannot handle signals, none has an
  effect.

  Args:
    workdir: folder of the run.
    steps: the first and the last step to profile; (0, 0) or (): none.
    say: takes a line for the user.
    number: of this process; None if it is the only one.
  """

  def __init__(self, workdir, steps, say, number=None):
    self._workdir = files.path(workdir)
    self._range = tuple(steps) or (0, 0)
    self._say = say
    self._number = number
    self._is_requested = False
    self._local = None  # Folder of the trace that is being taken,
    self._last = None  # and the last step in it.
    self._undo = contextlib.ExitStack()

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      previous = signal.signal(signal.SIGUSR1, self._request)
      self._undo.callback(
        signal.signal, signal.SIGUSR1, previous or signal.SIG_DFL
      )
    return self

  def __exit__(self, *_):
    self._undo.close()
    if self._local is not None:
      self._stop()

  def _request(self, *_):
    self._is_requested = True

  def starts(self, step):
    """Returns whether a trace starts with this step."""
    if self._local is not None:
      return False
    if self._is_requested:
      self._is_requested = False
      self._range = step, step + ON_SIGNAL - 1
    return self._range[0] <= step <= self._range[1]

  def start(self, step):
    """Starts a trace with this step."""
    self._range = step, self._range[1]
    with self._tolerant():
      self._local = tempfile.mkdtemp(prefix='vit_jax_profile_')
      jax.profiler.start_trace(self._local)
      self._say(f'profiling steps {self._range[0]} to {self._range[1]}')

  def annotated(self, step):
    """Returns a context in which a step is dispatched, named in the trace."""
    if self._local is None:
      return contextlib.nullcontext()
    self._last = step
    return jax.profiler.StepTraceAnnotation('train', step_num=step)

  def stops(self, step):
    """Returns whether the trace ends with this step."""
    return self._local is not None and step >= self._range[1]

  def stop(self, results):
    """Ends and stores a trace, once `results` of its last step are computed."""
    with contextlib.suppress(Exception):  # An error of the step, told there.
      jax.block_until_ready(results)
    self._stop()

  def _stop(self):
    local, self._local = self._local, None
    first, last = self._range[0], self._last
    self._range = (0, 0)
    with self._tolerant():
      try:
        jax.profiler.stop_trace()
        name = f'steps_{first}_to_{last}'
        num_files = self._store(pathlib.Path(local), name)
      finally:
        shutil.rmtree(local, ignore_errors=True)
      self._say(
        f'profiled steps {first} to {last}: {num_files} file(s) in '
        f'{self._workdir / FOLDER}; docs/operating.md says how to look at them'
      )

  def _store(self, local, name):
    """Copies a trace into the workdir; returns how many files it has.

    XProf wants all hosts of a run in one folder, which JAX names by the second.
    """
    found = [path for path in local.rglob('*') if path.is_file()]
    folder = self._workdir / FOLDER / 'plugins' / 'profile' / name
    folder.mkdir(parents=True, exist_ok=True)
    ours = '' if self._number is None else f'process_{self._number}.'
    for path in found:
      with (
        open(path, 'rb') as source,
        files.replacing(folder / f'{ours}{path.name}') as target,
      ):
        shutil.copyfileobj(source, target)
    return len(found)

  @contextlib.contextmanager
  def _tolerant(self):
    try:
      yield
    except Exception as error:  # Of any kind: no trace is worth a run.
      self._say(f'profiling has failed, the run goes on: {error!r}')
      self._range = (0, 0)
      if self._local is not None:
        shutil.rmtree(self._local, ignore_errors=True)
        self._local = None
