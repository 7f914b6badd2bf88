"""Devices that are not there: those of the CPU, and mistakes."""

import subprocess
import sys

import pytest

from vit_jax import errors
from vit_jax.planning import topology


def test_the_cpu_plays_as_many_devices_as_there_are():
  devices = topology.host(4)
  assert len(devices) == 4
  assert {device.platform for device in devices} == {'cpu'}


def test_more_devices_than_jax_has_started_with_are_refused():
  with pytest.raises(errors.UserError, match='JAX_NUM_CPU_DEVICES=4096'):
    topology.host(4096)


def test_a_fresh_process_gets_as_many_as_it_asks_for():
  code = 'from vit_jax.planning import topology; print(len(topology.host(300)))'
  shown = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert shown.stdout == '300\n'


@pytest.mark.skipif(
  not topology.has_tpu_compiler(), reason='needs the extra vit_jax[tpu]'
)
def test_the_compiler_for_tpus_knows_their_slices():
  devices = topology.tpu('v5p:2x2x2')
  assert len(devices) == 8
  assert topology.tpu_compiler().startswith('libtpu ')
  with pytest.raises(errors.UserError, match='refuses --topology=v5p:3x3x3'):
    topology.tpu('v5p:3x3x3')
