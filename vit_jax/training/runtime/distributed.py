"""Distributed initialization: the processes of one run connect to each other.

On TPU pods, on GKE, under Slurm and under Open MPI, JAX detects how; elsewhere,
three flags set it. A process without either is a run of its own.
"""

import contextlib
import faulthandler
import os
import re
import socket
import sys
import threading
import time
import traceback

import jax
from jax._src import distributed  # No public API gives the address.

from vit_jax import errors
from vit_jax.training.runtime import peers, process_log, watchdog

JOIN_SECONDS = 300  # Timeout for the other processes to connect.
NAME_SECONDS = 30  # Timeout for a name to appear: some do as machines start.
HEARTBEAT_SECONDS = 20  # Without a heartbeat, a process counts as lost.
SHUTDOWN_SECONDS = 60  # Timeout for the others at the end.
LAST_WORDS_SECONDS = 2  # In which the others may still report the same mistake.

# How MPI launchers name the number of processes, and the rank.
_RANKS = (
  ('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK'),  # Open MPI.
  ('PMI_SIZE', 'PMI_RANK'),  # MPICH and Intel MPI.
)
# How Open MPI and Slurm say that each machine has one process only.
_ALONE = (
  ('OMPI_COMM_WORLD_LOCAL_SIZE', r'1'),
  ('SLURM_STEP_TASKS_PER_NODE', r'1(\(x\d+\))?'),
)
# JAX's errors where it knows of no others, and where it is too late.
_NOBODY = 'coordinator_address should be defined'
_IN_USE = 'must be called before'
# What the system says of names that there are not; not all have the second.
_UNKNOWN = (socket.EAI_NONAME, getattr(socket, 'EAI_NODATA', None))


@contextlib.contextmanager
def joined(coordinator=None, num_processes=None, process_id=None):
  """A context in which this process is connected to the others of the run.

  Of several processes, an error ends this one at once, and soon the others: an
  orderly shutdown would wait for the others, and they for this one. Each of
  them says who is gone; see `peers`.

  Yields:
    A function to be called before the process ends in order on its own.

  Args, Raises: see `join`.
  """
  join(coordinator, num_processes, process_id)
  watched = _watch_peers()
  part = watched.part if watched else lambda: None
  try:
    yield part
  except Exception as error:
    if not jax.distributed.is_initialized():
      raise
    _end(error, watched)
  part()


def join(coordinator=None, num_processes=None, process_id=None):
  """Connects to the other processes, before JAX initializes its devices.

  If they don't connect within `JOIN_SECONDS`, it exits with `watchdog.STATUS`
  and prints the address at which it has waited.

  Args:
    coordinator: 'host:port' of process 0, to which all connect; None: from the
      scheduler, if there is one.
    num_processes: of the run; 1: a single process, whatever a scheduler says;
      None: from mpirun or a scheduler.
    process_id: of this process, from 0; None: likewise.

  Raises:
    UserError: the arguments don't fit each other or the launcher's, the port is
      taken, or the coordinator's name is that of no machine.
  """
  if num_processes == 1 or jax.distributed.is_initialized():
    return
  given = _arguments(coordinator, num_processes, process_id)
  # Its handler of SIGTERM would take the place of ours (`preemption`).
  jax.config.update('jax_enable_preemption_service', False)
  with _deadline(JOIN_SECONDS):
    try:
      jax.distributed.initialize(
        **given,
        initialization_timeout=2 * JOIN_SECONDS,  # JAX would dump core.
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=SHUTDOWN_SECONDS,
      )
    except (ValueError, RuntimeError, LookupError, OSError) as error:
      if given or (_NOBODY not in str(error) and _IN_USE not in str(error)):
        raise errors.UserError(
          f'The processes of this run cannot connect: {error!r}. Give each of '
          'them --coordinator=HOST:PORT, --num_processes=N and '
          '--process_id=I; or --num_processes=1 for a single process.'
        ) from error
      _check_alone()
      return
  _take_devices()
  faulthandler.enable()  # Shows the stack where a lost peer makes JAX abort.


def _arguments(coordinator, num_processes, process_id):
  """Returns the arguments for JAX; {}: it asks the scheduler."""
  if coordinator is None and num_processes is None and process_id is None:
    return {}
  if num_processes is None and process_id is None:
    num_processes, process_id = _rank() or (None, None)
  if None in (coordinator, num_processes, process_id):
    raise errors.UserError(
      '--coordinator=HOST:PORT, --num_processes=N and --process_id=I go '
      'together (under mpirun, --coordinator is enough); given: '
      f'--coordinator={coordinator}, --num_processes={num_processes}, '
      f'--process_id={process_id}.'
    )
  if not 0 <= process_id < num_processes:
    raise errors.UserError(
      f'--process_id={process_id} does not fit '
      f'--num_processes={num_processes}; it is from 0 to {num_processes - 1}.'
    )
  host, colon, port = coordinator.rpartition(':')
  if not (colon and port.isdecimal() and 0 < int(port) < 65536):
    raise errors.UserError(
      f'--coordinator={coordinator} is not HOST:PORT, as 10.0.0.2:8476: the '
      'machine of process 0 and a port that is free there.'
    )
  host = host.removeprefix('[').removesuffix(']')
  _check_name(host, coordinator)
  listens = {}
  if process_id == 0:  # At the given address, and at no other of the machine.
    _check_port(host, int(port))
    listens['coordinator_bind_address'] = coordinator
  return {
    **listens,
    'coordinator_address': coordinator,
    'num_processes': num_processes,
    'process_id': process_id,
    'cluster_detection_method': 'deactivate',
  }


def _rank():
  """Returns (number of processes, rank) from mpirun's environment, or None."""
  for count, number in _RANKS:
    if count in os.environ and number in os.environ:
      return int(os.environ[count]), int(os.environ[number])
  return None


def _check_name(host, coordinator):
  """Raises UserError where no machine has that name.

  A name server that does not respond is no mistake: `join` has its timeout.
  """
  end = time.monotonic() + NAME_SECONDS
  while _is_unknown(host):
    if time.monotonic() >= end:
      raise errors.UserError(
        f'--coordinator={coordinator}: no machine is called {host} here. Give '
        'the name or address of the machine of process 0 as this machine '
        'knows it (getent hosts NAME).'
      )
    time.sleep(min(1, NAME_SECONDS))


def _is_unknown(host):
  try:
    socket.getaddrinfo(host, None)
  except socket.gaierror as error:
    return error.errno in _UNKNOWN
  except UnicodeError:  # No name of a machine: an empty or too long part.
    return True
  return False


def _check_port(host, port):
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  try:
    socket.create_server((host, port), family=family).close()
  except OSError as error:
    raise errors.UserError(
      f'Process 0 cannot listen at port {port} of {host} ({error.strerror}); '
      'choose another port, or the address of the machine that process 0 is '
      'on, for the --coordinator of all processes.'
    ) from error


def _check_alone():
  """Raises UserError where mpirun has started others that JAX can't find."""
  count, number = _rank() or (1, 0)
  if count > 1:
    raise errors.UserError(
      f'This is process {number} of {count}, and JAX does not know how they '
      'can connect. Give all of them --coordinator=HOST:PORT, a free port on '
      'the machine of process 0.'
    )


def _take_devices():
  """Uses all GPUs of a machine on which this is the only process.

  Under Slurm and Open MPI, JAX takes one for each process.
  """
  is_set = 'JAX_LOCAL_DEVICE_IDS' in os.environ
  if not is_set and any(
    re.fullmatch(pattern, os.environ.get(name, '')) for name, pattern in _ALONE
  ):
    jax.config.update('jax_cuda_visible_devices', 'all')


def _watch_peers():
  """Returns the `peers.Peers` of this process, or None if it is alone."""
  meeting = distributed.global_state
  if meeting.client is None:
    return None
  watched = peers.Peers(meeting.process_id, meeting.coordinator_address)
  try:
    watched.start(meeting.client)
  except (OSError, RuntimeError) as error:
    process_log.CURRENT.say(
      f'if a process is lost, the others will not know which: {error}'
    )
  peers.end_on_abort(watched)
  return watched


def _end(error, watched):
  """Prints an error and exits this process, whatever its threads are doing.

  An error may come of the loss of another process: then it is named instead.
  """
  is_mistake = isinstance(error, errors.UserError)
  if is_mistake:
    print(errors.text(error), file=sys.stderr)
  else:
    traceback.print_exception(error)
  sys.stdout.flush()
  sys.stderr.flush()
  if not is_mistake and watched.knows.wait(LAST_WORDS_SECONDS):
    watched.end()
  reason = f'{error}' if is_mistake else f'{type(error).__name__}: {error}'
  watched.part(reason[: errors.MAX_WORD], is_mistake)
  if distributed.global_state.process_id == 0:  # JAX ends the others with it.
    time.sleep(LAST_WORDS_SECONDS)
  os._exit(2 if is_mistake else 1)


@contextlib.contextmanager
def _deadline(seconds):
  """A context that exits the process if it is not left in time."""
  timer = threading.Timer(seconds, _give_up, [seconds])
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


def _give_up(seconds):
  meeting = distributed.global_state
  address = meeting.coordinator_address or 'the address of the scheduler'
  print(
    f'vit_jax: error: process {meeting.process_id} of {meeting.num_processes} '
    f'has waited {seconds:g} s at {address} for the others. Are all of them '
    'running, with the same --coordinator, and can they reach that port over '
    'the network?',
    file=sys.stderr,
    flush=True,
  )
  os._exit(watchdog.STATUS)
