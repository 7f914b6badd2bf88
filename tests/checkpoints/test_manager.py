"""Steps are saved, kept, removed and restored as a run needs it."""

import pathlib
import shutil
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors
from vit_jax.checkpoints import manager, manifest, step_folder

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
def told():
  return []


@pytest.fixture
def saved(tmp_path, told):
  with manager.CheckpointManager(tmp_path / 'ours', 2, told.append) as saved:
    yield saved


def names(tmp_path):
  return sorted(path.name for path in (tmp_path / 'ours').iterdir())


def test_what_was_saved_comes_back_with_its_record(saved):
  saved.finish(3, state(3), {'metrics': [1, 'a']})
  back, record = saved.restore(ABSTRACT)
  np.testing.assert_array_equal(back['weights'], state(3)['weights'])
  assert record == {'metrics': [1, 'a']}
  assert saved.latest_step() == 3 and not saved.is_empty()


def test_a_state_may_be_given_away_once_save_returns(saved):
  given = state(5)
  saved.save(5, given, {})
  jax.jit(lambda tree: jax.tree.map(jnp.negative, tree), donate_argnums=0)(
    given
  )
  saved.wait()
  assert float(saved.restore(ABSTRACT)[0]['weights'][0]) == 5


def test_the_newest_scheduled_steps_are_kept(saved, tmp_path):
  for step in 1, 2, 3:
    saved.finish(step, state(step), {})
  assert names(tmp_path) == ['2', '3']


def test_an_unscheduled_step_drives_out_no_scheduled_one(saved, tmp_path):
  for step in 1, 2:
    saved.finish(step, state(step), {})
  saved.finish(3, state(3), {}, scheduled=False)
  assert names(tmp_path) == ['1', '2', '3']
  assert saved.steps() == [3, 2, 1]
  assert saved.scheduled_steps() == [2, 1]
  saved.finish(4, state(4), {})
  assert names(tmp_path) == ['2', '4']


def test_a_step_that_is_there_is_left_as_it_is(saved):
  saved.finish(1, state(1), {})
  saved.finish(1, state(2), {})
  assert float(saved.restore(ABSTRACT)[0]['weights'][0]) == 1


@pytest.mark.parametrize('first_sees', [[], [3], [6, 3]])
def test_all_processes_take_what_the_first_one_sees(
  saved, monkeypatch, first_sees
):
  """The others may not see yet what it has committed or removed."""
  row = np.full(manager._MAX_STEPS, -1, np.int32)
  row[: len(first_sees)] = first_sees
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(
    multihost_utils, 'broadcast_one_to_all', lambda given: row + 0 * given
  )
  monkeypatch.setattr(saved, 'scheduled_steps', lambda: [9])
  monkeypatch.setattr(saved, 'folders', lambda: [9])
  newest = first_sees[0] if first_sees else None
  assert saved.last_scheduled_step() == newest
  assert saved.is_empty() == (not first_sees)


def test_a_given_step_is_restored(saved):
  for step in 1, 2:
    saved.finish(step, state(step), {})
  assert int(saved.restore(ABSTRACT, 1)[0]['step']) == 1


def test_an_empty_folder_has_no_checkpoint(saved):
  assert saved.is_empty() and saved.latest_step() is None
  with pytest.raises(errors.UserError, match='has no checkpoint'):
    saved.restore(ABSTRACT)


def break_saves(monkeypatch, number=10**9):
  """Lets the next saves fail after all is written."""
  commit, left = manifest.commit, iter(range(number))

  def failing(*args):
    if next(left, None) is not None:
      raise OSError(28, 'No space left on device')
    commit(*args)

  monkeypatch.setattr(manifest, 'commit', failing)


def test_a_failed_save_is_told_once_and_leaves_no_phantom(
  saved, told, tmp_path, monkeypatch
):
  saved.finish(1, state(1), {})
  break_saves(monkeypatch, 1)
  saved.save(2, state(2), {})
  assert saved.wait() and not saved.poll()
  assert len(told) == 1 and 'saving step 2' in told[0]
  assert 'No space left' in told[0] and 'trying again' in told[0]
  assert saved.latest_step() == 1 and names(tmp_path) == ['1']
  saved.finish(2, state(2), {})
  assert saved.latest_step() == 2


def test_failing_again_and_again_is_an_error(saved, monkeypatch):
  saved.finish(1, state(1), {})
  break_saves(monkeypatch)
  with pytest.raises(errors.UserError, match=r'attempt 3: make room'):
    saved.finish(2, state(2), {})
  assert saved.steps() == [1]
  step_folder.check(pathlib.Path(saved._dir(1)))


def test_damage_to_the_newest_step_is_told_and_set_aside(saved, told, tmp_path):
  for step in 1, 2:
    saved.finish(step, state(step), {})
  (tmp_path / 'ours' / '2' / 'run' / 'metadata').unlink()
  assert int(saved.restore(ABSTRACT)[0]['step']) == 1
  assert told == [
    f'checkpoint {tmp_path}/ours/2 is not used: run/metadata is missing'
  ]
  assert names(tmp_path) == ['1', '2.damaged']
  saved.finish(2, state(2), {})
  assert names(tmp_path) == ['1', '2', '2.damaged']


def test_reading_only_changes_nothing(saved, tmp_path):
  for step in 1, 2:
    saved.finish(step, state(step), {})
  (tmp_path / 'ours' / '2' / 'run' / 'metadata').unlink()
  (tmp_path / 'ours' / '3.orbax-checkpoint-tmp').mkdir()
  reader = manager.CheckpointManager(
    tmp_path / 'ours', 1, lambda _: None, read_only=True
  )
  assert int(reader.restore(ABSTRACT)[0]['step']) == 1
  assert names(tmp_path) == ['1', '2', '3.orbax-checkpoint-tmp']
  nowhere = tmp_path / 'nowhere'
  assert manager.CheckpointManager(nowhere, 1, read_only=True).is_empty()
  assert not nowhere.exists()


def test_left_overs_are_tidied_up_on_opening(saved, tmp_path):
  saved.finish(1, state(1), {})
  for name in '2.orbax-checkpoint-tmp', '0.removed':
    (tmp_path / 'ours' / name).mkdir()
  manager.CheckpointManager(tmp_path / 'ours', 1)
  assert names(tmp_path) == ['1']


def test_a_disk_without_room_is_refused(saved, told, monkeypatch):
  usage = shutil.disk_usage('/')
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=10))
  with pytest.raises(errors.UserError, match=r'has 0 MB left.*make room'):
    saved.check_room(ABSTRACT)
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=40))
  saved.check_room(ABSTRACT)
  assert 'checkpoints_to_keep=2 takes up to' in told[0]


def test_a_manifest_of_another_format_is_named(saved, tmp_path, monkeypatch):
  monkeypatch.setattr(manifest, 'FORMAT', 7)
  saved.finish(1, state(1), {})
  monkeypatch.undo()
  with pytest.raises(manifest.Damaged, match='of format 7; this version re'):
    manifest.check(tmp_path / 'ours' / '1')


def test_an_older_step_that_can_not_be_removed_harms_nothing(
  saved, told, monkeypatch
):
  saved.finish(1, state(1), {})
  saved.finish(2, state(2), {})

  def refuse(*_):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(saved, '_remove', refuse)
  saved.finish(3, state(3), {})
  assert 'an older checkpoint cannot be removed' in told[0]
  assert saved.steps() == [3, 2, 1]


def test_a_save_that_must_wait_is_told(saved, told, monkeypatch):
  commit, now, is_awaited = manifest.commit, [1000.0], threading.Event()
  monkeypatch.setattr(
    manager, 'time', types.SimpleNamespace(monotonic=lambda: now[0])
  )
  wait = saved.wait

  def wait_from_now_on():
    is_awaited.set()
    return wait()

  def slow(*args):
    is_awaited.wait()
    now[0] += 1.6
    commit(*args)

  monkeypatch.setattr(manifest, 'commit', slow)
  saved.save(1, state(1), {})
  monkeypatch.setattr(saved, 'wait', wait_from_now_on)
  saved.save(2, state(2), {})
  saved.wait()
  assert told == ['step 2 had to wait 2 s for the save before it']
