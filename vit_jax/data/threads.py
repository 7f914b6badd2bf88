"""How many threads read and decode images: one for each CPU there is for them.

Those that read from an object store wait for it most of the time: of them there
are more.

The batches don't depend on it.
"""

import math
import os
import pathlib
import re

from vit_jax import files

# The number of processes on this machine, as launchers tell those they start;
# Slurm lists it for each kind of machine: 8(x3),4.
_LOCAL_PROCESSES = (
  'OMPI_COMM_WORLD_LOCAL_SIZE',  # Open MPI.
  'MPI_LOCALNRANKS',  # MPICH and Intel MPI.
  'SLURM_STEP_TASKS_PER_NODE',
)
_PER_CPU = 4  # Threads that read from a store.
_QUOTA = pathlib.Path('/sys/fs/cgroup/cpu.max')  # Of a container.


def count(data):
  """Returns the number of threads of an input pipeline, at least 1.

  Args:
    data: the part `data` of the configuration.
  """
  return data.num_threads or _usual(data)


def available_cpus():
  """Returns the number of CPUs that this process has for itself.

  Processes that share a machine, and were not bound to CPUs of their own, share
  its CPUs where the launcher tells how many they are.
  """
  total = os.cpu_count() or 1
  cpus = min(_usable_cpus(total), _quota())
  per_task = os.environ.get('SLURM_CPUS_PER_TASK', '')
  if per_task.isdecimal():
    cpus = min(cpus, int(per_task))
  elif cpus == total:
    cpus //= _local_processes()
  return max(1, cpus)


def describe(data):
  """Returns a sentence: the threads of this process, and what gives it more."""
  threads, cpus = count(data), available_cpus()
  where = f' in {data.num_workers} processes' if data.num_workers else ''
  made = f'{threads} thread(s){where} decode images'
  usual = _usual(data)
  each = 'one per CPU' if usual == cpus else f'{_PER_CPU} per CPU, of a store'
  if data.num_threads is None:
    more = 'data.num_workers=N spreads them over N processes'
    return f'{made}, {each}' + ('' if data.num_workers else f'; {more}')
  if threads < usual:
    return f'{made}; data.num_threads=none takes {each}, {usual}'
  return f'{made} on {cpus} CPU(s) (data.num_threads)'


def _usual(data):
  """Returns the number of threads where nobody gives one."""
  where = {'folder': data.dataset, 'tfds': data.data_dir}.get(data.source)
  is_remote = bool(where) and files.is_remote(where)
  return available_cpus() * (_PER_CPU if is_remote else 1)


def _usable_cpus(total):
  """Returns the number of CPUs that the system lets this process run on."""
  if hasattr(os, 'sched_getaffinity'):  # Linux.
    return len(os.sched_getaffinity(0))
  return total


def _quota():
  """Returns the CPUs of this container at a time, or infinity."""
  try:
    limit, period = _QUOTA.read_text().split()
    return math.ceil(int(limit) / int(period))
  except (OSError, ValueError):  # There is no such file, or it says 'max'.
    return math.inf


def _local_processes():
  for name in _LOCAL_PROCESSES:
    counts = re.findall(r'(\d+)(?:\(x\d+\))?', os.environ.get(name, ''))
    if counts:
      return max(1, *map(int, counts))
  return 1
