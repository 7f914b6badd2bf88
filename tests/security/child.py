"""A process that reads strangers' files under an audit hook.

It takes a JSON object per line, {"reader", "path", "folders"}, and answers with
{"outcome", "message", "seen", "peak"}: 'read', 'refused' by a typed error, or
'failed' with a traceback; what it did and should not have; and by how much its
memory grew at most. Or {"seed", "mutants"}, and answers as `fuzz.read`.
"""

import json
import os
import pathlib
import resource
import signal
import sys
import tempfile
import traceback

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['TFDS_DATA_DIR'] = '/nonexistent'
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp()

import fuzz
import readers
import watch

REQUEST = ('reader', 'path', 'folders')
ROOM = 4 << 30  # Bytes of address space; more ends in a MemoryError.
SECONDS = 100  # For a file; those here take a hundredth of a second.


class Hang(BaseException):
  """Ends a reader that waits for what never comes."""


def end(*_):
  raise Hang


def read(hook, name, path, folders):
  """Returns what became of a file; see above."""
  outcome, message = 'read', ''
  before = watch.reset_peak()
  signal.alarm(SECONDS)
  with hook.of(*folders, os.environ['XDG_CACHE_HOME']):
    try:
      readers.READERS[name].read(pathlib.Path(path))
    except readers.TYPED as error:
      outcome, message = 'refused', str(error)
    except (Exception, Hang):
      outcome, message = 'failed', traceback.format_exc()
    finally:
      signal.alarm(0)
  return {
    'outcome': outcome,
    'message': message,
    'seen': hook.seen,
    'peak': watch.peak_bytes() - before,
  }


def set_up():
  """Returns where to write answers, and the `watch.Watch`; all is warm."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # What is printed on the way is no answer.
  signal.signal(signal.SIGALRM, end)
  hook = watch.Watch()
  for reader in readers.READERS.values():  # What is imported late, is now.
    with tempfile.TemporaryDirectory() as folder:
      reader.read(reader.sample(pathlib.Path(folder)))
  _, most = resource.getrlimit(resource.RLIMIT_AS)
  resource.setrlimit(resource.RLIMIT_AS, (watch.mapped_bytes() + ROOM, most))
  return answers, hook


def main():
  answers, hook = set_up()
  print('ready', file=answers, flush=True)
  for line in sys.stdin:
    request = json.loads(line)
    if 'mutants' in request:
      given = fuzz.read(hook, request['seed'], range(request['mutants']))
    else:
      given = [
        read(hook, request['reader'], request['path'], request['folders'])
      ]
    for answer in given:
      print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
  main()
