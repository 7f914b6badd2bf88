"""A child process, in which strangers' files are read under an audit hook."""

import json
import os
import pathlib
import select
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))  # For `samples`, which the child imports, too.

MAX_GROWTH = 400 << 20  # Bytes of memory for any small file.
SECONDS = 300  # A reader that takes as long hangs, however busy all are.


class Child:
  """Reads files elsewhere, in a process that starts anew if it ends; `child`.

  Args:
    folder: in which it works.
  """

  def __init__(self, folder):
    self._folder = folder
    self._start()

  def _start(self):
    with open(self._folder / 'stderr', 'wb') as stderr:
      self._process = subprocess.Popen(
        [sys.executable, str(HERE / 'child.py')],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=self._folder,
        env={**os.environ, 'PYTHONPATH': str(HERE.parents[1])},
        text=True,
      )
    assert self._answer() == 'ready\n', self._told()

  def read(self, reader, path, *folders, most=MAX_GROWTH):
    """Returns the child's answer; nothing unexpected may have happened.

    Args:
      reader: a key of `readers.READERS`.
      path: of the file.
      folders: in which files may be opened; none: the file's own.
      most: bytes by which its memory may grow.
    """
    path = pathlib.Path(path)
    request = {
      'reader': reader,
      'path': str(path),
      'folders': [str(each) for each in folders or (path.parent,)],
    }
    print(json.dumps(request), file=self._process.stdin, flush=True)
    answer = self._answer()
    if not answer:
      self._start()
      raise AssertionError(f'reading {path} ended the process: {self._told()}')
    answer = json.loads(answer)
    assert answer['seen'] == [], answer
    assert answer['outcome'] != 'failed', answer['message']
    assert answer['peak'] < most, answer
    return answer

  def refuses(self, reader, path, *folders):
    """Returns the message of the typed error that a file leads to."""
    answer = self.read(reader, path, *folders)
    assert answer['outcome'] == 'refused', answer
    return answer['message']

  def mutants(self, seed, count):
    """Yields what became of each of so many changed files; see `fuzz.read`."""
    request = {'seed': seed, 'mutants': count}
    print(json.dumps(request), file=self._process.stdin, flush=True)
    while count:
      answer = self._answer()
      if not answer:
        self._start()
        raise AssertionError(f'a file ended the process: {self._told()}')
      line = json.loads(answer)
      if 'began' not in line:
        count -= 1
        yield line

  def close(self):
    self._process.stdin.close()
    assert self._process.wait(timeout=SECONDS) == 0

  def _told(self):
    return (self._folder / 'stderr').read_text()[-2000:]

  def _answer(self):
    ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
    if not ready:
      self._process.kill()
      raise TimeoutError(f'it has been reading for {SECONDS} s')
    return self._process.stdout.readline()


@pytest.fixture(scope='session')
def child(tmp_path_factory):
  child = Child(tmp_path_factory.mktemp('child'))
  yield child
  child.close()
