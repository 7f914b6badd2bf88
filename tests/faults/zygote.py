"""Starts runs fast: imports everything once, then forks a process per run.

Reads a JSON object per line from stdin and answers each with one: {'start':
{...}} forks and gives the pid, {'poll': pid} gives the exit status (negative:
the signal), or null as long as there is none. A run is what `vit_jax ARGV`
does, after `faults` (see injections.py) have been put into it.
"""

import json
import os
import pathlib
import runpy
import signal
import sys
import traceback

HERE = pathlib.Path(__file__).parent


def main():
  # Nothing of it may start a thread or a backend: both are lost in a fork.
  from vit_jax.checkpoints import verify  # noqa: F401
  from vit_jax.cli import main as cli  # noqa: F401
  from vit_jax.evaluation import evaluate  # noqa: F401
  from vit_jax.training import train  # noqa: F401
  from vit_jax.training.runtime import distributed  # noqa: F401

  answers = os.fdopen(os.dup(1), 'w')
  for line in sys.stdin:
    order = json.loads(line)
    if 'start' in order:
      answer = _start(**order['start'])
    else:
      answer = _poll(order['poll'])
    print(json.dumps(answer), file=answers, flush=True)


def _start(argv, output, settings, faults):
  pid = os.fork()
  if pid:
    return pid
  status = 1
  try:
    os.setsid()
    # Of pytest under nohup, or in the background of a script, they are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status = _run(argv, settings, faults)
  except SystemExit as end:
    status = end.code
  except BaseException:
    traceback.print_exc()
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def _run(argv, settings, faults):
  import jax

  from vit_jax.cli import main as cli
  from vit_jax.training import train

  train._plot = lambda *_: None  # A third of a run's time; other tests look.
  for name, value in settings.items():
    jax.config.update(name, value)
  if faults:
    injections = runpy.run_path(str(HERE / 'injections.py'))
    for name, arguments in faults.items():
      injections[name](**arguments)
  return cli.main(argv)


def _poll(pid):
  done, status = os.waitpid(pid, os.WNOHANG)
  return os.waitstatus_to_exitcode(status) if done else None


if __name__ == '__main__':
  main()
