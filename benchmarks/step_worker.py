"""Times steps in a process of its own, in the turns that it is given.

benchmarks/step.py starts one such process per engine and lets one at a time
compute, so that none is in the way of another and all see the same machine.
"""

import ctypes
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Engine(NamedTuple):
  """Something whose steps are timed.

  Attributes:
    run: makes so many steps, and returns once the last of them has ended.
    device: what it computes on, in words.
    peak: returns the bytes of device memory that were held at most since the
      call before; None: what the process has held of the host's.
    work: of one step, where it is not a batch of images: operations or bytes.
  """

  run: Callable
  device: str
  peak: Callable | None = None
  work: float = 0.0


def serve(engines, versions):
  """Does what standard input asks, line by line; the arguments name an engine.

  The answers are lines of JSON: first, once the steps run, one of what was
  prepared; then, for each line that says how many steps, the seconds that they
  took and the bytes that were held at most.

  Args:
    engines: {name: function that maps a case to an `Engine`}.
    versions: {package: version} of what is measured.
  """
  answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w', buffering=1)
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What libraries print.
  name, case = sys.argv[1:]
  at_first = _take_peak()
  engine = engines[name](json.loads(case))
  peak = engine.peak or (lambda: _take_peak() - at_first)

  first, second = _seconds(engine, 1), _seconds(engine, 1)
  _give_back()
  prepared = {
    'compile': first - second,
    'step': second,
    'device': engine.device,
    'work': engine.work,
    'versions': versions,
  }
  print(json.dumps(prepared), file=answers)
  for line in sys.stdin:
    peak()
    seconds = _seconds(engine, int(line))
    print(json.dumps({'seconds': seconds, 'memory': peak()}), file=answers)


def _seconds(engine, num_steps):
  began = time.perf_counter()
  engine.run(num_steps)
  return time.perf_counter() - began


def _take_peak():
  """Returns the bytes that this process has held at most since the last call.

  0 where the system doesn't tell.
  """
  status = pathlib.Path('/proc/self/status')
  if not status.exists():
    return 0
  peak = 1024 * int(status.read_text().partition('VmHWM:')[2].split()[0])
  pathlib.Path('/proc/self/clear_refs').write_text('5')  # proc(5).
  return peak


def _give_back():
  """Gives what a compiler has freed back to the system; it is not of a step."""
  library = ctypes.CDLL(None)
  if hasattr(library, 'malloc_trim'):
    library.malloc_trim(0)
