"""The environment of a training process, and where the program is."""

import mmap
import pathlib
import re

import jaxlib
import pytest


def environment(machine, *command):
  """Returns {name: value} that keep_going.sh gives a command."""
  done = machine.start('keep_going.sh', *command, 'env', '--null')
  assert done.returncode == 0, done.stderr
  lines = (line.partition('=') for line in done.stdout.split('\0'))
  return {name.rpartition('] ')[2]: value for name, _, value in lines}


def test_a_gpu_gets_its_environment_and_other_machines_do_not(
  machine, monkeypatch
):
  monkeypatch.setenv('TRIES', '1')
  assert 'XLA_FLAGS' not in environment(machine)
  monkeypatch.setenv('NVIDIA_DEVICE', '/dev/null')
  found = environment(machine)
  assert found['XLA_CLIENT_MEM_FRACTION'] == '0.9'
  assert found['XLA_FLAGS'] == '--xla_gpu_enable_latency_hiding_scheduler=true'
  assert (found['NCCL_DEBUG'], found['PYTHONUNBUFFERED']) == ('WARN', '1')


@pytest.mark.parametrize(
  ('given', 'wanted'),
  [
    ({'NCCL_DEBUG': 'INFO'}, {'NCCL_DEBUG': 'INFO'}),
    ({'NCCL_DEBUG': ''}, {'NCCL_DEBUG': ''}),
    ({'XLA_CLIENT_MEM_FRACTION': '.5'}, {'XLA_CLIENT_MEM_FRACTION': '.5'}),
    (  # jaxlib refuses both.
      {'XLA_PYTHON_CLIENT_MEM_FRACTION': '.5'},
      {'XLA_CLIENT_MEM_FRACTION': None},
    ),
    (
      {'XLA_FLAGS': '--xla_dump_to=/tmp/a b'},
      {
        'XLA_FLAGS': '--xla_dump_to=/tmp/a b '
        '--xla_gpu_enable_latency_hiding_scheduler=true'
      },
    ),
    (
      {'XLA_FLAGS': '--xla_gpu_enable_latency_hiding_scheduler=false'},
      {'XLA_FLAGS': '--xla_gpu_enable_latency_hiding_scheduler=false'},
    ),
  ],
)
def test_what_is_set_keeps_its_value(machine, monkeypatch, given, wanted):
  for name, value in {
    'NVIDIA_DEVICE': '/dev/null',
    'TRIES': '1',
    **given,
  }.items():
    monkeypatch.setenv(name, value)
  found = environment(machine)
  assert {name: found.get(name) for name in wanted} == wanted


def test_jaxlib_knows_what_is_set(machine):
  folder = pathlib.Path(jaxlib.__file__).parent
  text = (machine.launch / 'environment.sh').read_text()
  flags = set(re.findall(r'--(xla_gpu_\w+)', text))
  assert flags
  with (
    (folder / 'libjax_common.so').open('rb') as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library,
  ):
    assert [flag for flag in flags if library.find(flag.encode()) < 0] == []
  client = (folder / 'xla_client.py').read_text()
  for name in re.findall(r'\bXLA_(?:PYTHON_)?CLIENT_\w+', text):
    assert f"'{name}'" in client


FORWARDED = {'XLA_FLAGS': "--a='b c' --d", 'NCCL_SOCKET_IFNAME': 'eth0'}


@pytest.mark.parametrize(
  ('command', 'scheduler'),
  [
    (('gpu_node.sh', 'one', '--'), 'ssh'),
    (('tpu_pod.sh', 'pod', 'zone'), 'gcloud'),
  ],
)
def test_other_machines_get_what_is_set_here(
  machine, monkeypatch, command, scheduler
):
  for name, value in FORWARDED.items():
    monkeypatch.setenv(name, value)
  printed = machine.typed(
    machine.start(command[0], '--dry-run', *command[1:], *machine.train).stdout
  )
  words = machine.typed(printed[-1].removeprefix('--command='))
  assert words[0] == 'env'
  assert {f'{name}={value}' for name, value in FORWARDED.items()} <= {*words}
  assert 'XLA_CLIENT_MEM_FRACTION' not in printed[-1]  # That of the machine.
  assert printed[0] == scheduler


@pytest.mark.parametrize(
  ('given', 'made'),
  [
    ('', 'bin/vit_jax'),  # On PATH.
    ('other_vit', 'bin/other_vit'),
    ('{}/own', 'own'),
    ('{}/venv', 'venv/bin/vit_jax'),
    ('{}/checkout', 'checkout/.venv/bin/vit_jax'),
    ('~/folder', 'folder/vit_jax'),
  ],
)
def test_the_program_may_be_named(machine, monkeypatch, given, made):
  machine.script(made, 'echo started')
  monkeypatch.setenv('VIT_JAX', given.format(machine.home))
  printed = machine.start(
    'keep_going.sh', '--dry-run', 'vit_jax', *machine.train
  ).stdout
  assert machine.typed(printed)[-len(machine.train) - 1 :] == [
    str(machine.home / made),
    *machine.train,
  ]


@pytest.mark.parametrize(
  'command', [('keep_going.sh', 'vit_jax'), ('background.sh', 'start')]
)
def test_a_program_that_is_not_there_is_named_and_tried_once(
  machine, monkeypatch, command
):
  monkeypatch.setenv('VIT_JAX', '/no/such/folder')
  done = machine.start(*command, *machine.train)
  assert done.returncode == 127
  (line,) = done.stderr.splitlines()
  assert 'there is no vit_jax (VIT_JAX=/no/such/folder, ' in line
