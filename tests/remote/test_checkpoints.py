"""Checkpoints in a store: committed, damaged, left half written."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors
from vit_jax.checkpoints import manager, parameters, verify
from vit_jax.files import folders

MESH = jax.make_mesh((1,), ('one',), devices=jax.devices()[:1])
WHOLE = NamedSharding(MESH, PartitionSpec())


def state(value):
  tree = {'step': np.int32(value), 'weights': np.full(8, value, np.float32)}
  return jax.device_put(tree, WHOLE)


ABSTRACT = jax.tree.map(
  lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=WHOLE),
  state(0),
)


@pytest.fixture
def saved(folder):
  told = []
  with manager.CheckpointManager(
    folder / 'checkpoints', 1, told.append
  ) as steps:
    steps.told = told
    for number in 3, 6:
      steps.finish(number, state(number), {'number': number})
    yield steps


def test_the_newest_step_is_kept_and_restored(saved, folder):
  assert saved.steps() == [6]
  restored, record = saved.restore(ABSTRACT)
  assert float(restored['weights'][7]) == 6 and record == {'number': 6}
  lines, is_good = verify.run(folder)
  assert is_good and 'committed, verified' in lines[0]


def test_a_step_that_is_damaged_is_set_aside(saved, folder):
  saved._keep = 2
  saved.finish(9, state(9), {})
  step = folder / 'checkpoints/9'
  data = max(folders.walk(step / 'state'), key=lambda path: path.stat().st_size)
  data.write_bytes(b'x' * data.stat().st_size)
  restored, _ = saved.restore(ABSTRACT)
  assert int(restored['step']) == 6 and saved.steps() == [6]
  assert 'checkpoints/9 is not used' in saved.told[-1]
  assert folders.walk(folder / 'checkpoints/9.damaged')


@pytest.mark.parametrize('kept', ['state', 'run'])
def test_half_a_step_is_removed_at_the_next_start(saved, folder, kept):
  for path in folders.walk(folder / 'checkpoints/6' / kept):
    inner = path.relative_to(folder / 'checkpoints/6')
    (folder / 'checkpoints/9' / inner).write_bytes(path.read_bytes())
  assert saved.folders() == [9, 6]
  with manager.CheckpointManager(folder / 'checkpoints', 1) as steps:
    assert steps.folders() == [6]


def test_nothing_is_committed_once_the_folder_is_lost(folder):
  def fence():
    raise errors.UserError('another run has it')

  with manager.CheckpointManager(
    folder / 'checkpoints', 1, lambda _: None, fence=fence
  ) as steps:
    steps.save(3, state(3), {})
    assert steps.wait()
    assert steps.steps() == []


def test_parameters_alone_are_written_and_read(folder):
  for value in 1.0, 2.0:
    parameters.save(folder, {'a': jnp.full(3, value)})
  found = parameters.find(folder)
  read, step = found.load(['a'], lambda _, array: array)
  assert step is None and read['a'].tolist() == [2.0] * 3


PROGRAM = """
import jax, jax.monitoring, json
from vit_jax.training.runtime import startup
startup.use_compilation_cache()
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
seen = []
jax.monitoring.register_event_listener(lambda event, **_: seen.append(event))
jax.jit(lambda x: x * 3)(2.0)
print(json.dumps(seen))
"""


def test_compiled_programs_are_found_again(folder):
  cache = {'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled')}
  for expected in 'misses', 'hits':
    shown = subprocess.run(
      [sys.executable, '-c', PROGRAM],
      env={**os.environ, **cache},
      check=True,
      capture_output=True,
    ).stdout
    found = f'/jax/compilation_cache/cache_{expected}'
    assert found in json.loads(shown.splitlines()[-1])
