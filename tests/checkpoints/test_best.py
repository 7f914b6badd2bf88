"""The best step stays, and what names it names a step that is whole."""

import shutil
import threading

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vit_jax.checkpoints import best, manager, manifest, verify


@pytest.fixture
def state():
  mesh = Mesh(jax.devices()[:1], ('one',))
  return jax.device_put(
    {'w': jnp.ones(3)}, NamedSharding(mesh, PartitionSpec())
  )


@pytest.fixture
def folder(tmp_path):
  return tmp_path / 'checkpoints'


def test_the_best_step_stays_until_there_is_a_better_one(state, folder):
  with manager.CheckpointManager(folder, 1, keep_best=True) as saved:
    saved.finish(1, state, {})
    saved.mark_best(1, (0.5,))
    for step in 2, 3:
      saved.finish(step, state, {})
    assert saved.steps() == [3, 1]
    saved.mark_best(3, (0.6,))
    assert saved.steps() == [3]
    assert best.read(folder) == best.Best(3, (0.6,))
  with manager.CheckpointManager(folder, 1) as saved:  # It need not be told.
    for step in 4, 5:
      saved.finish(step, state, {})
    assert saved.steps() == [5, 3]


def test_a_step_is_marked_once_it_is_whole(state, folder, monkeypatch):
  commit, may_go_on = manifest.commit, threading.Event()

  def commit_later(*args):
    may_go_on.wait()
    commit(*args)

  with manager.CheckpointManager(folder, 1, keep_best=True) as saved:
    saved.finish(1, state, {})
    saved.mark_best(1, (0.5,))
    monkeypatch.setattr(manifest, 'commit', commit_later)
    saved.save(2, state, {})
    saved.mark_best(2, (0.6,))
    assert best.read(folder).step == 1
    may_go_on.set()
    saved.wait()
    assert best.read(folder).step == 2
    assert saved.steps() == [2]


@pytest.mark.parametrize('text', ['', '{"step": 1}', '[1]', '{"step": "a"}'])
def test_what_is_no_mark_is_none(folder, text):
  folder.mkdir()
  (folder / best.FILE).write_text(text)
  assert best.read(folder) is None


def test_verify_misses_a_best_step_that_is_gone(state, folder):
  with manager.CheckpointManager(folder, 2, keep_best=True) as saved:
    for step in 1, 2:
      saved.finish(step, state, {})
    saved.mark_best(1, (0.5,))
  lines, good = verify.run(folder.parent)
  assert good and lines[1].endswith('verified, marked as the best')
  shutil.rmtree(folder / '1')
  lines, good = verify.run(folder.parent)
  assert not good and lines[1] == '         1  missing, marked as the best'
