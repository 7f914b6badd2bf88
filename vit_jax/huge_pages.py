"""Memory in pages of 2 MB, from kernels that give them to whoever asks.

A training step on a CPU writes its activations to fresh memory, hundreds of
megabytes of it. In pages of 4 kB, a sixth of the time of ViT-S/16 goes into
finding them (benchmarks/results/cpu.md).
"""

import os
import pathlib
import sys

_MODES = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
_TUNABLES, _ASK = 'GLIBC_TUNABLES', 'glibc.malloc.hugetlb'


def ask():
  """Has the C library ask for huge pages, if that makes a difference here.

  The library looks at its environment only at the start of a process, so this
  one is started over: its number, arguments and standard streams remain. Call
  it before anything else is done.
  """
  environment = asking(os.environ)
  if environment != os.environ:
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def asking(environment):
  """Returns the environment of a process that asks; one that says is kept.

  Args:
    environment: {name: value}.
  """
  tunables = environment.get(_TUNABLES, '')
  is_ours_to_ask = _MODES.is_file() and '[madvise]' in _MODES.read_text()
  if not is_ours_to_ask or _ASK in tunables:
    return dict(environment)
  listed = ':'.join(filter(None, [tunables, f'{_ASK}=1']))
  return {**environment, _TUNABLES: listed}
