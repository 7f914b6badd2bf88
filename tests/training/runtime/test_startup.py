import ctypes
import os
import stat
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import custom_partitioning

from vit_jax import errors
from vit_jax.training.runtime import startup

FOLDER = 'jax_compilation_cache_dir'
SMALLEST = 'jax_persistent_cache_min_compile_time_secs'
POINTER = 'jax_remove_custom_partitioning_ptr_from_cache_key'

NAMES = (FOLDER, SMALLEST, POINTER)


@pytest.fixture(autouse=True)
def settings(monkeypatch):
  before = {name: getattr(jax.config, name) for name in NAMES}
  monkeypatch.delenv(
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', raising=False
  )
  yield
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.parametrize(
  ('cache', 'where'), [('', '.cache/vit_jax'), ('~/mine', 'mine')]
)
def test_by_default_it_is_a_folder_of_ones_own(
  cache, where, tmp_path, monkeypatch
):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.setenv('XDG_CACHE_HOME', '')
  monkeypatch.setenv('VIT_JAX_CACHE', cache)
  jax.config.update(FOLDER, None)
  startup.use_compilation_cache()
  folder = tmp_path / where / 'compilation'
  assert jax.config.jax_compilation_cache_dir == str(folder)
  assert stat.S_IMODE(folder.stat().st_mode) == 0o700
  assert getattr(jax.config, SMALLEST) == 0
  startup.use_compilation_cache()  # Again, as the next start does.


def test_jax_may_be_told_another_folder_and_other_sizes(tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '2')
  jax.config.update(FOLDER, str(tmp_path / 'mine'))
  jax.config.update(SMALLEST, 2.0)
  startup.use_compilation_cache()
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / 'mine')
  assert getattr(jax.config, SMALLEST) == 2
  assert stat.S_IMODE((tmp_path / 'mine').stat().st_mode) == 0o700


@pytest.mark.parametrize('mode', [0o770, 0o707, 0o720])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path, mode):
  tmp_path.chmod(mode)
  jax.config.update(FOLDER, str(tmp_path))
  with pytest.raises(
    errors.UserError, match=rf'Others may write .* \(chmod 700 {tmp_path}\)'
  ):
    startup.use_compilation_cache()
  tmp_path.chmod(0o755)  # To read is no harm.
  startup.use_compilation_cache()


@pytest.mark.parametrize('mode', [0o770, 0o707])
def test_a_folder_that_others_may_replace_is_refused(tmp_path, mode):
  folder = tmp_path / 'open/cache'
  folder.mkdir(mode=0o700, parents=True)
  folder.parent.chmod(mode)
  jax.config.update(FOLDER, str(folder))
  with pytest.raises(errors.UserError, match=f'write to {folder.parent},'):
    startup.use_compilation_cache()
  folder.parent.chmod(mode | stat.S_ISVTX)  # As /tmp.
  startup.use_compilation_cache()


def test_a_program_that_others_may_write_is_refused(tmp_path):
  tmp_path.chmod(0o755)
  jax.config.update(FOLDER, str(tmp_path))
  program = tmp_path / 'program'
  program.touch()
  program.chmod(0o666)
  with pytest.raises(errors.UserError, match=f'write to {program},'):
    startup.use_compilation_cache()
  tmp_path.chmod(0o700)  # Nobody else gets to it.
  startup.use_compilation_cache()
  program.unlink()
  program.symlink_to('/elsewhere')
  with pytest.raises(errors.UserError, match=f'write to {program},'):
    startup.use_compilation_cache()


def test_the_folder_of_another_user_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(os, 'geteuid', lambda: tmp_path.stat().st_uid + 1)
  jax.config.update(FOLDER, str(tmp_path))
  with pytest.raises(errors.UserError, match='make it yours alone'):
    startup.use_compilation_cache()


def test_without_room_for_a_folder_it_goes_on_without(tmp_path, capsys):
  (tmp_path / 'file').touch()
  jax.config.update(FOLDER, str(tmp_path / 'file/cache'))
  startup.use_compilation_cache()
  assert jax.config.jax_compilation_cache_dir is None
  told = capsys.readouterr().err
  assert 'compiled programs will not be cached' in told
  assert 'JAX_COMPILATION_CACHE_DIR sets another' in told


@pytest.mark.parametrize('bucket', ['gs://bucket/cache', 's3://bucket/cache'])
def test_a_bucket_is_left_to_its_own_rules(bucket):
  jax.config.update(FOLDER, bucket)
  jax.config.update(POINTER, False)
  startup.use_compilation_cache()
  assert jax.config.jax_compilation_cache_dir == bucket
  assert getattr(jax.config, POINTER)  # Else attention is compiled each time.


@pytest.fixture
def events():
  """The names of what JAX tells of itself, as it happens."""
  names = []

  def listen(name, **_):
    names.append(name)

  jax.monitoring.register_event_listener(listen)
  yield names
  jax.monitoring.unregister_event_listener(listen)


def test_a_program_is_found_again_that_python_splits_over_devices(events):
  # Such is cuDNN's attention; on CPUs, anything may be.
  startup.use_compilation_cache()
  mesh = jax.make_mesh(
    (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  kept = []  # Or an address might be used again.

  def is_found():
    @custom_partitioning.custom_partitioning
    def double(x):
      return 2 * x

    double.def_partition(
      partition=lambda mesh, *_: (mesh, lambda x: 2 * x, split, (split,)),
      sharding_rule='i -> i',
    )
    kept.append(double)
    events.clear()
    program = jax.jit(double, in_shardings=split).lower(jnp.zeros(8)).compile()
    np.testing.assert_array_equal(program(jnp.ones(8)), 2)
    return '/jax/compilation_cache/cache_hits' in events

  is_found()
  assert is_found()
  jax.config.update(POINTER, False)
  assert not is_found()


# Freed memory ----------------------------------------------------------------

# Prints how many bytes the C library's heaps have after so many calls, each of
# which needs 256 MB in between.
HELD = """
import ctypes, sys
import jax, jax.numpy as jnp
from vit_jax.training.runtime import startup

if sys.argv[1] == 'keep':
  startup.keep_freed_memory()

class Mallinfo(ctypes.Structure):  # The first of its ten fields: the heaps.
  _fields_ = [('arena', ctypes.c_size_t), ('others', 9 * ctypes.c_size_t)]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Mallinfo

@jax.jit
def step(x):
  between = jax.lax.optimization_barrier(x[:, None] + x)
  return between.sum(0) / between.max()

x = jnp.ones(8192)
for _ in range(int(sys.argv[2])):
  x = step(x).block_until_ready()
print(library.mallinfo2().arena)
"""
BETWEEN = 4 * 8192**2  # Bytes.


def held(argument, num_calls):
  shown = subprocess.run(
    [sys.executable, '-c', HELD, argument, str(num_calls)],
    capture_output=True,
    text=True,
    check=True,
  )
  return int(shown.stdout)


@pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'mallinfo2'), reason='needs glibc 2.33'
)
def test_a_step_finds_the_memory_of_the_one_before():
  assert held('as usual', 5) < BETWEEN  # Each gives it back.
  # What little lies in the way makes the heap grow now and then, not each time.
  assert BETWEEN < held('keep', 30) < 15 * BETWEEN


class Library:
  def __init__(self):
    self.told = []

  def mallopt(self, *said):
    self.told.append(said)


@pytest.mark.parametrize(
  ('platform', 'library', 'is_told'),
  [('cpu', Library(), True), ('gpu', Library(), False), ('cpu', [], False)],
)
def test_only_a_library_that_listens_is_told(
  monkeypatch, platform, library, is_told
):
  monkeypatch.setattr(jax.config, 'update', lambda name, value: None)
  device = types.SimpleNamespace(platform=platform)
  monkeypatch.setattr(jax, 'devices', lambda: [device])
  monkeypatch.setattr(startup.ctypes, 'CDLL', lambda name: library)
  startup.keep_freed_memory()
  assert bool(getattr(library, 'told', [])) == is_told
