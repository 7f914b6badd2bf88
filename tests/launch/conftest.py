"""A machine on which scripts stand in for schedulers.

They note how they are called, and start what they are given.
"""

import os
import pathlib
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / 'launch'


@pytest.fixture(autouse=True)
def _heard():
  """Has scripts hear SIGHUP and SIGINT, also where pytest ignores them."""
  ignored = {
    number: signal.signal(number, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGINT)
    if signal.getsignal(number) == signal.SIG_IGN
  }
  yield
  for number, handler in ignored.items():
    signal.signal(number, handler)


# What they do once they have noted their arguments. Slurm runs a copy of the
# script from another place, and tells which task has failed.
STAND_INS = {
  'ssh': 'shift 2; exec bash -c "$*"',
  'gcloud': 'for word; do command=${word#--command=}; done; bash -c "$command"',
  'sbatch': 'while [[ $1 == --* ]]; do shift; done\n'
  'cp "$1" "$HOME/job"; shift\n'
  'SLURM_CPUS_PER_TASK=12 exec bash "$HOME/job" "$@"',
  'srun': 'while [[ $1 == --* ]]; do shift; done; "$@"; status=$?\n'
  'if [[ $status != 0 ]]; then\n'
  '  echo "srun: error: node7: task 9: Exited with exit code $status" >&2\n'
  'fi\nexit "${SRUN_STATUS:-$status}"',
  'scontrol': '',
  'sinfo': 'cat "$HOME/sinfo"',
  'kubectl': 'cat',
}
SINFO = 'cpu 16 (null)\nh100* 96 gpu:h100:8(S:0-1)\nh100* 192+ gpu:h100:8\n'

# Of the environment of whoever runs the tests, what would change them.
PREFIXES = ('NCCL', 'XLA', 'SLURM', 'SBATCH', 'JAX_', 'LIBTPU', 'TPU_')
SETTINGS = (
  *('VIT_JAX', 'LAUNCH', 'LABEL', 'TRIES', 'MAX_PAUSE', 'STEADY', 'PORT'),
  *('AT_ONCE', 'RESOURCE', 'POLL_SECONDS'),
  *('CPUS_PER_TASK', 'CLAIM', 'BUCKET', 'NAMESPACE', 'SERVICE_ACCOUNT'),
)


class Machine:
  """A home folder with stand-ins on PATH, which note how they are called.

  Attributes:
    home: the folder.
    launch: the folder of the scripts.
    train: arguments of `vit_jax`, which are to come through whole.
  """

  launch = LAUNCH
  train = ('train', '--config=a.py:variant=B/16', "--workdir=/data/it's here")

  def __init__(self, home):
    self.home = home
    self._notes = home / 'notes'
    for name, text in STAND_INS.items():
      self.note(name, text)
    self.note(
      'vit_jax',
      f'status=$(head -n1 {home}/ends); sed -i 1d {home}/ends; exit $status',
    )
    (home / 'vit_jax').mkdir()
    (home / 'vit_jax/launch').symlink_to(LAUNCH)
    (home / 'sinfo').write_text(SINFO)
    self.ends(0, 0)

  def ends(self, *statuses):
    """Sets the statuses that `vit_jax` ends with, one after the other."""
    lines = ''.join(f'{status}\n' for status in statuses)
    (self.home / 'ends').write_text(lines)

  def script(self, path, text):
    """Writes a script to a path below the home folder."""
    path = self.home / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/usr/bin/env bash\n{text}\n')
    path.chmod(0o755)

  def note(self, name, text=''):
    """Has a command on PATH note its arguments before it does something."""
    note = f'printf "%s\\0" "$(basename "$0")" "$@" $\'\\1\' >> {self._notes}'
    self.script(f'bin/{name}', f'{note}\n{text}')

  def start(self, name, *arguments):
    """Returns what a script of launch/ has done."""
    return subprocess.run(
      ['bash', LAUNCH / name, *arguments],
      capture_output=True,
      text=True,
      timeout=300,
    )

  def noted(self, name, count=0):
    """Returns the arguments of each call of a command, waiting for `count`."""
    end = time.monotonic() + 120
    while True:
      calls = [rest for first, *rest in self._calls() if first == name]
      if len(calls) >= count or time.monotonic() > end:
        return sorted(calls)
      time.sleep(0.01)

  def has_started(self):
    """Returns the names of the commands that were called."""
    return {name for name, *_ in self._calls()}

  def typed(self, line):
    """Returns the words of a line as bash reads them."""
    shell = ['bash', '-c', f"printf '%s\\0' {line}"]
    return subprocess.check_output(shell, text=True).split('\0')[:-1]

  def _calls(self):
    if not self._notes.exists():
      return []
    calls = self._notes.read_text().split('\0\1\0')  # The last is not complete.
    return [call.split('\0') for call in calls[:-1]]


@pytest.fixture
def machine(tmp_path, monkeypatch):
  for name in [*os.environ]:
    if name.startswith(PREFIXES) or name in SETTINGS:
      monkeypatch.delenv(name)
  for name, value in {
    'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    'HOME': tmp_path,
    'PAUSE': '0',
    'SLURM_JOB_ID': '7',
    'NVIDIA_DEVICE': tmp_path / 'no such device',
  }.items():
    monkeypatch.setenv(name, str(value))
  return Machine(tmp_path)
