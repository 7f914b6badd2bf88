"""Who meets where, as schedulers, launchers and flags tell it."""

import itertools
import os
import re
import socket
import threading

import jax
import pytest
from jax._src import distributed, xla_bridge
from jax._src.clusters import cloud_tpu_cluster, cluster

from vit_jax import errors
from vit_jax.training.runtime import distributed as multihost
from vit_jax.training.runtime import watchdog

LAUNCHERS = (
  'SLURM',
  'OMPI',
  'PMI',
  'TPU',
  'MEGASCALE',
  'KUBERNETES',
  'JAX_COORD',
)


class Meeting:
  """What JAX is told, and then meets nobody."""

  def __init__(self):
    self.address = None

  def client(self, address, process, **options):
    self.address, self.process, self.options = address, process, options
    return self

  def service(self, address, num_processes, **_):
    self.listens = address
    return self

  def connect(self):
    pass

  def blocking_key_value_get(self, key, timeout):
    raise RuntimeError('nobody is there')

  @property
  def told(self):
    return self.address, distributed.global_state.num_processes, self.process


@pytest.fixture
def meeting(monkeypatch):
  for name in list(os.environ):
    if name.startswith(LAUNCHERS):
      monkeypatch.delenv(name)
  made = Meeting()
  jaxlib = distributed._jax
  monkeypatch.setattr(
    jaxlib, 'get_distributed_runtime_client', made.client, raising=False
  )
  monkeypatch.setattr(
    jaxlib, 'get_distributed_runtime_service', made.service, raising=False
  )
  monkeypatch.setattr(distributed, 'global_state', distributed.State())
  monkeypatch.setattr(xla_bridge, 'backends_are_initialized', lambda: False)
  monkeypatch.setattr(multihost.faulthandler, 'enable', lambda: None)
  monkeypatch.setattr(multihost.peers, 'end_on_abort', lambda _: None)
  preemption = jax.config.jax_enable_preemption_service
  yield made
  jax.config.update('jax_cuda_visible_devices', 'all')
  jax.config.update('jax_enable_preemption_service', preemption)


SLURM = {
  'SLURM_JOB_ID': '8194',
  'SLURM_STEP_NODELIST': 'node[007-010]',
  'SLURM_NTASKS': '32',
  'SLURM_PROCID': '9',
  'SLURM_LOCALID': '1',
  'SLURM_STEP_TASKS_PER_NODE': '8(x4)',
}
OPEN_MPI = {
  'OMPI_MCA_orte_hnp_uri': '12288.0;tcp://10.96.0.1,10.148.0.1:34911',
  'OMPI_COMM_WORLD_SIZE': '4',
  'OMPI_COMM_WORLD_RANK': '3',
  'OMPI_COMM_WORLD_LOCAL_RANK': '1',
  'OMPI_COMM_WORLD_LOCAL_SIZE': '2',
}
GKE = {  # A JobSet of two slices of four machines.
  'TPU_WORKER_HOSTNAMES': 'a,b,c,d',
  'TPU_WORKER_ID': '2',
  'MEGASCALE_COORDINATOR_ADDRESS': 'localhost',
  'MEGASCALE_NUM_SLICES': '2',
  'MEGASCALE_SLICE_ID': '1',
}


def set_environment(monkeypatch, variables):
  for name, value in variables.items():
    monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
  ('variables', 'told', 'gpus'),
  [
    (SLURM, ('node007:61442', 32, 9), '1'),
    (
      {**SLURM, 'SLURM_STEP_TASKS_PER_NODE': '1(x32)', 'SLURM_LOCALID': '0'},
      ('node007:61442', 32, 9),
      'all',
    ),
    (OPEN_MPI, ('10.96.0.1:61443', 4, 3), '1'),
    (
      {**OPEN_MPI, 'OMPI_COMM_WORLD_LOCAL_SIZE': '1'},
      ('10.96.0.1:61443', 4, 3),
      'all',
    ),
  ],
)
def test_slurm_and_open_mpi_tell_all(
  meeting, monkeypatch, variables, told, gpus
):
  set_environment(monkeypatch, variables)
  multihost.join()
  assert meeting.told == told
  assert jax.config.read('jax_cuda_visible_devices') == gpus
  assert meeting.options['heartbeat_timeout'] == multihost.HEARTBEAT_SECONDS


@pytest.fixture
def tpu(monkeypatch):
  for module in cloud_tpu_cluster, cluster:
    monkeypatch.setattr(module, 'running_in_cloud_tpu_vm', True)


def test_gke_tells_all_of_a_jobset_of_slices(meeting, monkeypatch, tpu):
  monkeypatch.setattr(
    cloud_tpu_cluster.GceTpuCluster, 'is_env_present', lambda: False
  )
  set_environment(monkeypatch, GKE)
  multihost.join()
  assert meeting.told == ('localhost:8482', 8, 6)


def test_a_tpu_pod_tells_all(meeting, monkeypatch, tpu):
  metadata = {
    'agent-worker-number': '1',
    'worker-network-endpoints': 'x:8470:127.0.0.1,x:8470:127.0.0.2',
    'tpu-env': "ACCELERATOR_TYPE: 'v4-16'",
  }
  monkeypatch.setattr(
    cloud_tpu_cluster, 'get_metadata', lambda key: (metadata[key], 200)
  )
  multihost.join()
  assert meeting.told == ('127.0.0.1:8482', 2, 1)


def test_flags_tell_all_whatever_a_scheduler_says(meeting, monkeypatch):
  set_environment(monkeypatch, SLURM)
  multihost.join('10.0.0.2:8476', 4, 3)
  assert meeting.told == ('10.0.0.2:8476', 4, 3)
  assert jax.config.read('jax_cuda_visible_devices') == 'all'


def test_under_mpirun_the_address_is_enough(meeting, monkeypatch):
  set_environment(monkeypatch, {'PMI_SIZE': '4', 'PMI_RANK': '2'})
  multihost.join('10.0.0.2:8476')
  assert meeting.told == ('10.0.0.2:8476', 4, 2)


def test_told_by_nobody_it_is_alone(meeting):
  multihost.join()
  assert meeting.address is None
  assert not jax.distributed.is_initialized()


def test_one_process_is_alone_whatever_a_scheduler_says(meeting, monkeypatch):
  set_environment(monkeypatch, SLURM)
  multihost.join(num_processes=1)
  assert meeting.address is None


def test_what_has_met_already_meets_no_more(meeting, monkeypatch):
  multihost.join('10.0.0.2:8476', 4, 3)
  multihost.join('10.0.0.9:8476', 2, 1)
  assert meeting.told == ('10.0.0.2:8476', 4, 3)


def test_no_handler_of_sigterm_takes_the_place_of_ours(meeting):
  multihost.join('10.0.0.2:8476', 4, 3)
  assert distributed.global_state.preemption_sync_manager is None


def test_where_jax_is_in_use_nothing_is_met():
  jax.devices()
  multihost.join()
  with pytest.raises(errors.UserError, match='must be called before'):
    multihost.join('10.0.0.2:8476', 4, 3)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (('10.0.0.2:8476', 4, None), r'go together .*; given: .*--process_id=None'),
    (('10.0.0.2:8476', None, None), r'go together \(under mpirun'),
    ((None, 4, 0), r'given: --coordinator=None'),
    (('10.0.0.2:8476', 4, 4), r'--process_id=4 does not fit .*from 0 to 3'),
    (('10.0.0.2', 4, 1), r'--coordinator=10\.0\.0\.2 is not HOST:PORT'),
    (('10.0.0.2:http', 4, 1), r'is not HOST:PORT'),
    (('10.0.0.2:99999', 4, 1), r'is not HOST:PORT'),
  ],
)
def test_flags_that_do_not_fit_are_refused(meeting, arguments, message):
  with pytest.raises(errors.UserError, match=message):
    multihost.join(*arguments)
  assert meeting.address is None


def test_a_port_that_is_taken_is_refused(meeting):
  with socket.create_server(('', 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(errors.UserError, match=f'cannot listen at port {port}'):
      multihost.join(f'localhost:{port}', 2, 0)


@pytest.mark.parametrize('process_id', [0, 3])
@pytest.mark.parametrize('host', ['no-such-host.invalid', 'a..b', 'n' * 70])
def test_a_coordinator_that_no_machine_is_called_is_refused(
  meeting, monkeypatch, host, process_id
):
  monkeypatch.setattr(multihost, 'NAME_SECONDS', 0)
  monkeypatch.setattr(socket, 'getaddrinfo', unknown(socket.EAI_NONAME))
  message = f'--coordinator={host}:8476: no machine is called {host} '
  with pytest.raises(errors.UserError, match=re.escape(message)) as info:
    multihost.join(f'{host}:8476', 4, process_id)
  assert '\n' not in str(info.value)
  assert meeting.address is None


def unknown(number, count=10**6):
  """Returns a `getaddrinfo` that fails so many times."""
  failures = itertools.repeat(number, count)
  lookup = socket.getaddrinfo

  def getaddrinfo(host, *rest, **named):
    for failure in failures:
      host.encode('idna')
      raise socket.gaierror(failure, 'as the system says it')
    return lookup('127.0.0.1', *rest, **named)

  return getaddrinfo


def test_a_name_may_appear_as_machines_start(meeting, monkeypatch):
  monkeypatch.setattr(multihost.time, 'sleep', lambda seconds: None)
  monkeypatch.setattr(socket, 'getaddrinfo', unknown(socket.EAI_NONAME, 3))
  multihost.join('node1:8476', 4, 3)
  assert meeting.told == ('node1:8476', 4, 3)


def test_a_name_server_that_does_not_respond_is_no_mistake(
  meeting, monkeypatch
):
  monkeypatch.setattr(socket, 'getaddrinfo', unknown(socket.EAI_AGAIN))
  multihost.join('node1:8476', 4, 3)
  assert meeting.told == ('node1:8476', 4, 3)


@pytest.mark.parametrize('count', ['1', '2'])
def test_others_that_jax_can_not_find_are_not_ignored(
  meeting, monkeypatch, count
):
  variables = {'OMPI_COMM_WORLD_SIZE': count, 'OMPI_COMM_WORLD_RANK': '0'}
  set_environment(monkeypatch, variables)  # As Open MPI 5: no address.
  if count == '1':
    multihost.join()
    return
  with pytest.raises(errors.UserError, match=r'0 of 2, .* --coordinator=HOST'):
    multihost.join()


@pytest.mark.parametrize(
  ('variables', 'message'),
  [
    ({**SLURM, 'SLURM_NTASKS': 'many'}, "'many'"),
    ({'OMPI_MCA_orte_hnp_uri': '0.0;tcp://10.96.0.1:1'}, 'COMM_WORLD_SIZE'),
    ({'JAX_COORDINATOR_ADDRESS': 'one:8476'}, 'Number of processes'),
  ],
)
def test_a_scheduler_that_jax_does_not_understand_is_told(
  meeting, monkeypatch, variables, message
):
  set_environment(monkeypatch, variables)
  with pytest.raises(
    errors.UserError, match=rf'cannot connect: .*{message}.*--num_processes=1'
  ):
    multihost.join()


def test_who_is_waited_for_in_vain_is_told_with_the_address(
  meeting, monkeypatch, capsys, wait_until
):
  left = []
  monkeypatch.setattr(multihost, 'JOIN_SECONDS', 0.05)
  monkeypatch.setattr(multihost.os, '_exit', left.append)
  monkeypatch.setattr(Meeting, 'connect', lambda self: wait_until(lambda: left))
  multihost.join('10.0.0.2:8476', 4, 3)
  assert left == [watchdog.STATUS]
  told = capsys.readouterr().err
  assert 'process 3 of 4 has waited 0.05 s at 10.0.0.2:8476' in told


def test_a_meeting_in_time_is_not_ended(meeting, monkeypatch, wait_until):
  left, running = [], []

  def timers():
    return [
      thread
      for thread in threading.enumerate()
      if getattr(thread, 'function', None) is multihost._give_up
    ]

  monkeypatch.setattr(Meeting, 'connect', lambda self: running.extend(timers()))
  monkeypatch.setattr(multihost.os, '_exit', left.append)
  multihost.join('10.0.0.2:8476', 4, 3)
  assert running
  wait_until(lambda: not timers())
  assert left == []


@pytest.mark.parametrize(
  ('error', 'status', 'told'),
  [
    (errors.UserError('No such data.'), 2, 'vit_jax: error: No such data.\n'),
    (RuntimeError('a bug'), 1, 'RuntimeError: a bug\n'),
  ],
)
def test_an_error_ends_one_of_several_at_once(
  meeting, monkeypatch, capsys, error, status, told
):
  left = []
  monkeypatch.setattr(multihost.os, '_exit', left.append)
  with multihost.joined('10.0.0.2:8476', 4, 3):
    raise error
  assert left == [status]
  assert capsys.readouterr().err.endswith(told)


def test_an_error_of_a_run_of_one_is_raised(meeting):
  with pytest.raises(KeyError), multihost.joined():
    raise KeyError
