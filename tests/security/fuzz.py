"""Reads thousands of changed files: no traceback, no hang, little memory.

    python tests/security/fuzz.py --count=20000 --seed=1

Each file is of one reader in turn, and is known by seed and number: the same
numbers give the same files. A worker reads them under an audit hook (see
`watch`); where one ends the worker or takes too long, another goes on behind
it. A file that fails is kept, and its number is told.
"""

import argparse
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

MAX_GROWTH = 400 << 20  # Bytes of memory, above what the readers need to start.
MAX_MESSAGE = 200_000  # Characters, of which a terminal gets a few.
PATIENCE = 150  # Seconds for a file that can't be interrupted.


def work(seed, first, count, kept, only=None):
  """Reads mutants and writes a JSON object for each to standard output."""
  import child

  answers, hook = child.set_up()
  for line in read(hook, seed, range(first, count), kept, only):
    print(json.dumps(line), file=answers, flush=True)


def read(hook, seed, numbers, kept=None, only=None):
  """Yields {'began': number} and what became of each mutant.

  Args:
    hook: a `watch.Watch`.
    seed, numbers: of the mutants.
    kept: folder for those with problems, or None.
    only: name of the one reader, or None: all in turn.
  """
  import child
  import watch

  with tempfile.TemporaryDirectory() as folder:
    samples = _Samples(pathlib.Path(folder), only)
    base = watch.reset_peak()
    for number in numbers:
      name, path = samples.make(seed, number)
      yield {'began': number}
      start = time.monotonic()
      answer = child.read(hook, name, path, [samples.folder])
      growth = watch.peak_bytes() - base
      problem = '\n'.join(answer['seen'])
      if answer['outcome'] == 'failed':
        problem = answer['message']
      elif len(answer['message']) > MAX_MESSAGE:
        problem = f'a message of {len(answer["message"])} characters'
      elif growth > MAX_GROWTH:
        problem = problem or f'{growth >> 20} MB of memory'
      if problem and kept:
        shutil.copyfile(path, f'{kept}/{number}-{name.replace(" ", "_")}')
      yield {
        'number': number,
        'reader': name,
        'outcome': answer['outcome'],
        'problem': problem,
        'growth': growth,
        'seconds': time.monotonic() - start,
      }


class _Samples:
  """Folders of samples, of which one file is changed and put back.

  Args:
    folder: for a folder of each reader.
    only: name of the one reader, or None: all in turn.
  """

  def __init__(self, folder, only):
    import readers

    self.folder = folder
    self._names = [only] if only else list(readers.READERS)
    self._readers = readers.READERS
    self._samples = {}  # The path of each in its folder.

  def make(self, seed, number):
    """Writes a mutant; returns the reader's name and the path."""
    import mutants

    # Readers may leave files of their own: all anew.
    shutil.rmtree(self.folder / 'now', ignore_errors=True)
    name = self._names[number % len(self._names)]
    top = self.folder / name.replace(' ', '_')
    if name not in self._samples:
      top.mkdir()
      path = pathlib.Path(self._readers[name].sample(top))
      self._samples[name] = path.relative_to(top)
    now = self.folder / 'now'
    shutil.copytree(top, now)
    path = now / self._samples[name]
    rng = mutants.generator(seed, number)
    data = mutants.mutate(path.read_bytes(), self._readers[name].grammar, rng)
    path.write_bytes(data)
    return name, path


def run(seed, count, seconds, kept, only=None):
  """Reads `count` mutants; returns (results, problems), as dicts."""
  results, problems = [], []
  ends = time.monotonic() + seconds
  first = 0
  while first < count and time.monotonic() < ends:
    for line in _of_worker(seed, first, count, kept, only, ends):
      if 'began' in line:
        began = line['began']
        continue
      results.append(line)
      first = line['number'] + 1
      if line['problem']:
        problems.append(line)
        print(json.dumps(line, indent=1), flush=True)
      if len(results) % 1000 == 0:
        print(f'{len(results)} files, {len(problems)} problems', flush=True)
    if first < count and time.monotonic() < ends:
      problems.append({'number': began, 'problem': 'the process has ended'})
      print(json.dumps(problems[-1]), flush=True)
      first = began + 1
  return results, problems


def _of_worker(seed, first, count, kept, only, ends):
  """Yields what a worker says, until it has ended or hangs."""
  arguments = [f'--seed={seed}', f'--first={first}', f'--count={count}']
  arguments += [f'--kept={kept}'] if kept else []
  arguments += [f'--only={only}'] if only else []
  root = str(pathlib.Path(__file__).parents[2])
  worker = subprocess.Popen(
    [sys.executable, __file__, '--work', *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    env={**os.environ, 'PYTHONPATH': root},
  )
  try:
    patience = 300  # To start.
    buffer = b''
    while time.monotonic() < ends:
      if not select.select([worker.stdout], [], [], patience)[0]:
        return
      patience = PATIENCE
      chunk = os.read(worker.stdout.fileno(), 1 << 16)
      if not chunk:
        return
      *lines, buffer = (buffer + chunk).split(b'\n')
      yield from map(json.loads, lines)
  finally:
    worker.kill()
    worker.wait()


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--count', type=int, default=20_000)
  parser.add_argument('--first', type=int, default=0)
  parser.add_argument('--seconds', type=float, default=3600)
  parser.add_argument('--kept')
  parser.add_argument('--only')
  parser.add_argument('--work', action='store_true')
  args = parser.parse_args()
  if args.work:
    work(args.seed, args.first, args.count, args.kept, args.only)
    return
  if args.kept:
    os.makedirs(args.kept, exist_ok=True)
  began = time.monotonic()
  results, problems = run(
    args.seed, args.count, args.seconds, args.kept, args.only
  )
  refused = sum(line['outcome'] == 'refused' for line in results)
  by_reader = {}
  for line in results:
    by_reader.setdefault(line['reader'], []).append(line['seconds'])
  for name, times in by_reader.items():
    print(f'{name:30} {len(times):6} files, {sum(times) / len(times):.4f} s')
  peak = max((line['growth'] for line in results), default=0)
  print(
    f'{len(results)} files in {time.monotonic() - began:.0f} s: {refused} '
    f'refused, {len(problems)} problems, {peak >> 20} MB of memory at most'
  )
  sys.exit(bool(problems) or len(results) < args.count)


if __name__ == '__main__':
  main()
