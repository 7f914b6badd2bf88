"""Parameters of a run are read alone and checked, whatever it does."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vit_jax import errors, pytrees
from vit_jax.checkpoints import manager, manifest, parameters

DEPTH = 11  # So that 'block_10' comes before 'block_2' in the alphabet.
SHAPES = {
  'stem/kernel': (40, 60),
  **{f'encoder/block_{n}/mlp/kernel': (6, 3) for n in range(DEPTH)},
  **{f'encoder/block_{n}/norm/scale': (6,) for n in range(DEPTH)},
}
KERNEL = 'encoder/block_10/mlp/kernel'
STACKED = 'encoder/blocks/mlp/kernel'


def draw(seed):
  """Returns {path: array} of parameters."""
  rng = np.random.default_rng(seed)
  return {
    path: rng.standard_normal(shape, np.float32)
    for path, shape in SHAPES.items()
  }


def state_of(step, average=True):
  params, average_of = draw(step), draw(100 + step)
  tree = {
    'step': np.int32(step),
    'params': pytrees.unflatten(params),
    'opt_state': {'mu': pytrees.unflatten(draw(200 + step))},
    **({'ema': pytrees.unflatten(average_of)} if average else {}),
  }
  mesh = Mesh(np.array(jax.devices()[:1]), ('one',))
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def write(workdir, *steps, change=lambda state: state, keep=9, **options):
  with manager.CheckpointManager(workdir / 'checkpoints', keep) as saved:
    for step in steps:
      saved.finish(step, change(state_of(step, **options)), {})


def take(path, array):
  return array


def read(workdir, paths=SHAPES):
  return parameters.find(workdir).load(paths, take)


def assert_same(given, wanted):
  assert given.keys() == wanted.keys()
  for path in given:
    np.testing.assert_array_equal(given[path], wanted[path], err_msg=path)


def files(workdir, step):
  """Returns the files of the numbers of a step, the largest first."""
  found = (workdir / f'checkpoints/{step}/state').rglob('d/*')
  return sorted(found, key=lambda path: -path.stat().st_size)


# What is read ----------------------------------------------------------------


@pytest.mark.parametrize('average', [True, False])
def test_the_average_is_read_where_there_is_one(tmp_path, average):
  write(tmp_path, 1, 2, average=average)
  given, step = read(tmp_path)
  assert step == 2
  assert_same(given, draw(102 if average else 2))


@pytest.mark.parametrize('stored', ['single', 'stacked'])
def test_layers_are_stacked_or_not_as_they_are_wanted(tmp_path, stored):
  change = pytrees.stack if stored == 'stacked' else lambda state: state
  write(tmp_path, 1, change=change)
  found, single = parameters.find(tmp_path), draw(101)
  assert {path: leaf.shape for path, leaf in found.shapes().items()} == SHAPES
  assert_same(found.load(SHAPES, take)[0], single)
  stacked = pytrees.flatten(pytrees.stack(pytrees.unflatten(single)))
  assert stacked[STACKED].shape == (DEPTH, 6, 3)
  assert_same(found.load(stacked, take)[0], stacked)


def test_what_is_not_asked_for_is_not_read(tmp_path, monkeypatch):
  names = []
  original = parameters._read
  monkeypatch.setattr(
    parameters,
    '_read',
    lambda folder, asked: names.extend(asked) or original(folder, asked),
  )
  write(tmp_path, 1)
  given, _ = read(tmp_path, [KERNEL])
  assert_same(given, {KERNEL: draw(101)[KERNEL]})
  assert names == [f'ema/{KERNEL}']


def test_exported_parameters_are_read_in_the_same_way(tmp_path):
  single = draw(1)
  parameters.save(tmp_path, pytrees.unflatten(single))
  assert_same(read(tmp_path)[0], single)
  stacked, step = read(tmp_path, [STACKED])
  assert stacked[STACKED].shape == (DEPTH, 6, 3) and step is None


# Damage ----------------------------------------------------------------------


def test_without_a_checkpoint_nothing_is_found(tmp_path):
  assert parameters.find(tmp_path) is None
  (tmp_path / 'checkpoints').mkdir()
  assert parameters.find(tmp_path) is None


@pytest.mark.filterwarnings('ignore')  # What orbax leaves when a read fails.
@pytest.mark.parametrize('small', [0, manifest.SMALL])
def test_a_changed_number_sends_it_to_the_older_step(
  tmp_path, capsys, monkeypatch, small
):
  monkeypatch.setattr(manifest, 'SMALL', small)  # Digests alone can tell.
  write(tmp_path, 1, 2)
  outcomes = set()
  for data in files(tmp_path, 2):
    before = data.read_bytes()
    for place in range(3, len(before), len(before) // 10):
      changed = bytearray(before)
      changed[place] ^= 4
      data.write_bytes(changed)
      given, step = read(tmp_path)
      assert_same(given, draw(100 + step))  # Never anything else.
      outcomes.add(step)
      told = capsys.readouterr().err
      assert ('checkpoints/2 is not used' in told) == (step == 1)
    data.write_bytes(before)
  assert outcomes == {1, 2}  # Also of the optimizer, which nobody reads.


@pytest.mark.parametrize('name', ['run/metadata', 'state/_METADATA'])
def test_a_file_that_has_changed_sends_it_to_the_older_step(
  tmp_path, capsys, name
):
  write(tmp_path, 1, 2)
  path = tmp_path / 'checkpoints/2' / name
  path.write_bytes(path.read_bytes()[:-1] + b' ')
  found = parameters.find(tmp_path)
  found.shapes()
  assert found.load(SHAPES, take)[1] == 1
  told = capsys.readouterr().err
  assert told.count(f'checkpoints/2 is not used: {name} has changed') == 1


def test_all_damaged_is_an_error_with_a_list(tmp_path):
  write(tmp_path, 1, 2)
  for step in 1, 2:
    (tmp_path / f'checkpoints/{step}/run/metadata').unlink()
  with pytest.raises(errors.UserError, match=r'(?s)2: run/meta.*1: run/meta'):
    read(tmp_path)


def test_a_step_of_another_model_is_not_used(tmp_path, capsys, monkeypatch):
  write(tmp_path, 2)
  found = parameters.find(tmp_path)
  found.shapes()
  monkeypatch.setitem(SHAPES, 'stem/kernel', (40, 61))
  write(tmp_path, 3)
  assert found.load([KERNEL], take)[1] == 2
  assert 'of another model' in capsys.readouterr().err


# A run at work ---------------------------------------------------------------


@pytest.mark.parametrize('reads_before', [0, 1])
def test_a_step_that_is_removed_is_replaced_by_the_newest(
  tmp_path, capsys, monkeypatch, reads_before
):
  monkeypatch.setattr(parameters, '_BYTES', 0)  # Several reads of a step.
  original, count = parameters._read, []

  def read_late(folder, names):
    count.append(folder)
    if len(count) == 1 + reads_before:
      write(tmp_path, 2, keep=1)
      assert not (tmp_path / 'checkpoints/1').exists()
    return original(folder, names)

  monkeypatch.setattr(parameters, '_read', read_late)
  write(tmp_path, 1)
  given, step = read(tmp_path)
  assert step == 2
  assert_same(given, draw(102))
  assert capsys.readouterr().err == ''


def test_it_ends_if_all_are_removed(tmp_path, monkeypatch):
  write(tmp_path, 1)
  found = parameters.find(tmp_path)
  found.shapes()
  shutil.rmtree(tmp_path / 'checkpoints')
  with pytest.raises(errors.UserError, match='has no checkpoint'):
    found.load(SHAPES, take)


def test_it_ends_if_a_step_is_listed_and_never_there(tmp_path, monkeypatch):
  write(tmp_path, 1)
  found = parameters.find(tmp_path)
  shutil.rmtree(tmp_path / 'checkpoints/1')
  monkeypatch.setattr(found, 'steps', lambda: [1])
  with pytest.raises(errors.UserError, match=r'can be used:\n  1: '):
    found.load(SHAPES, take)


# What it costs ---------------------------------------------------------------

LARGE = {
  'stem/kernel': (1024, 512),
  **{f'encoder/block_{n}/mlp/kernel': (1024, 512) for n in range(31)},
}
CHILD = """
import json
import sys

import jax

from vit_jax.checkpoints import parameters

mesh = jax.sharding.Mesh(jax.devices()[:1], ('one',))
whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def place(path, array):
  return jax.device_put(array.copy(), whole)  # As to a device of its own.


def status(name):
  with open('/proc/self/status') as lines:
    return next(int(l.split()[1]) << 10 for l in lines if l.startswith(name))


def num_read():
  with open('/proc/self/io') as lines:
    return int(next(lines).split()[1])


found = parameters.find(sys.argv[1])
found.load(['stem/kernel'], place)  # What is imported late.
with open('/proc/self/clear_refs', 'w') as file:
  file.write('5')  # The peak begins anew.
resident, before = status('VmRSS'), num_read()
params, _ = found.load(found.shapes(), place)
print(json.dumps([num_read() - before, status('VmHWM') - resident]))
"""


@pytest.mark.skipif(
  not pathlib.Path('/proc/self/clear_refs').exists(), reason='needs Linux'
)
def test_only_the_parameters_are_read_and_held_once(tmp_path, monkeypatch):
  monkeypatch.setattr(sys.modules[__name__], 'SHAPES', LARGE)
  write(tmp_path, 1)
  num_bytes = sum(array.nbytes for array in draw(1).values())
  assert sum(path.stat().st_size for path in files(tmp_path, 1)) > 2.5 * (
    num_bytes
  )
  child = subprocess.run(
    [sys.executable, '-c', CHILD, str(tmp_path)],
    # What is freed is given back at once, so that the peak is of what is held.
    env={
      **os.environ,
      'JAX_NUM_CPU_DEVICES': '1',
      'MALLOC_MMAP_THRESHOLD_': str(1 << 18),
    },
    capture_output=True,
    text=True,
    check=True,
  )
  num_read, peak = json.loads(child.stdout)
  assert 0.8 * num_bytes < num_read < 1.1 * num_bytes
  assert num_bytes < peak < 1.3 * num_bytes
