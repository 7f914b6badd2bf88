"""Threads of the input pipeline: as many as CPUs, unless somebody says more."""

import os
import re

import pytest

from vit_jax.config import recipes
from vit_jax.data import pipeline, threads
from vit_jax.data.sources import synthetic

LAUNCHERS = ('SLURM', 'OMPI', 'MPI')


@pytest.fixture
def machine(monkeypatch, tmp_path):
  """Sets the CPUs of the machine, those usable, and launchers' variables."""
  for name in list(os.environ):
    if name.startswith(LAUNCHERS):
      monkeypatch.delenv(name)

  def machine(total=64, usable=None, quota=None, **variables):
    usable = total if usable is None else usable
    monkeypatch.setattr(os, 'cpu_count', lambda: total)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(usable)))
    monkeypatch.setattr(threads, '_QUOTA', tmp_path / 'cpu.max')
    if quota is not None:
      threads._QUOTA.write_text(quota)
    for name, value in variables.items():
      monkeypatch.setenv(name, value)

  return machine


@pytest.mark.parametrize(
  ('options', 'wanted'),
  [
    ({}, 64),
    ({'usable': 6}, 6),
    ({'quota': '350000 100000\n'}, 4),
    ({'quota': 'max 100000\n'}, 64),
    ({'SLURM_CPUS_PER_TASK': '16'}, 16),
    ({'SLURM_CPUS_PER_TASK': '16', 'usable': 8}, 8),  # Bound to cores.
    ({'SLURM_CPUS_PER_TASK': '8', 'SLURM_STEP_TASKS_PER_NODE': '8(x4)'}, 8),
    ({'SLURM_STEP_TASKS_PER_NODE': '8(x3),4'}, 8),
    ({'OMPI_COMM_WORLD_LOCAL_SIZE': '4'}, 16),
    ({'OMPI_COMM_WORLD_LOCAL_SIZE': '4', 'usable': 16}, 16),  # Bound already.
    ({'MPI_LOCALNRANKS': '2'}, 32),
    ({'MPI_LOCALNRANKS': '200'}, 1),
  ],
)
def test_a_process_has_its_share_of_the_cpus(machine, options, wanted):
  machine(**options)
  assert threads.available_cpus() == wanted


def test_where_nothing_binds_processes_the_machine_counts(machine, monkeypatch):
  machine(total=10)
  monkeypatch.delattr(os, 'sched_getaffinity')
  assert threads.available_cpus() == 10


@pytest.mark.parametrize(
  ('fields', 'count', 'told'),
  [
    ({}, 64, r'64 thread\(s\) decode images, one per CPU; data\.num_workers=N'),
    ({'num_workers': 4}, 64, r'64 thread\(s\) in 4 processes .*, one per CPU$'),
    (
      {'source': 'folder', 'dataset': 'gs://b/x'},
      256,
      r'256 thread\(s\) decode images, 4 per CPU, of a store; data',
    ),
    (
      {'data_dir': 's3://b/x', 'num_threads': 64},
      64,
      r'^64 .*; data\.num_threads=none takes 4 per CPU, of a store, 256',
    ),
    ({'num_threads': 2}, 2, r'^2 .* data\.num_threads=none .* one per CPU, 64'),
    ({'num_threads': 80}, 80, r'^80 .* on 64 CPU\(s\) \(data\.num_threads\)'),
  ],
)
def test_the_choice_is_told_with_the_field_that_raises_it(
  machine, data, fields, count, told
):
  machine()
  data.update(fields)
  assert threads.count(data) == count
  assert re.search(told, threads.describe(data))


@pytest.mark.parametrize('fields', [{}, {'num_threads': 3}])
def test_so_many_threads_are_started(machine, data, fields, monkeypatch):
  machine(total=7)
  data.update(fields)
  asked = []
  options = pipeline.grain.ReadOptions
  monkeypatch.setattr(
    pipeline.grain,
    'ReadOptions',
    lambda **given: asked.append(given['num_threads']) or options(**given),
  )
  source = synthetic.SyntheticSource(9, 5, 12, 10, 'train')
  pipeline.train_batches(source, data, batch_size=4, seed=0).close()
  assert asked == [threads.count(data)] == [fields.get('num_threads', 7)]


def test_recipes_leave_it_to_the_machine():
  for path in recipes.FOLDER.rglob('*.py'):
    assert 'num_threads' not in path.read_text(), path
