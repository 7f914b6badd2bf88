"""Faults 1 to 13: a run dies, or its disk fails, at any point of a save."""

import os
import signal

import pytest

from vit_jax.checkpoints import best

fault = pytest.mark.fault

# Points of injections.py, at which call of it, before or after; what happens,
# and the step that the next start resumes from.
KILLS = (
  (1, 'copy', 1, False, 'killed before the first save', None),
  (2, 'copy', 2, True, 'killed between copy and background write', 3),
  (3, 'write', 2, False, 'killed in the middle of the write', 3),
  (4, 'commit', 2, False, 'killed after the data, before the manifest', 6),
  (5, 'prune', 2, False, 'killed before the older step is removed', 6),
)


@pytest.mark.parametrize(
  ('point', 'count', 'late', 'resumed'),
  [
    pytest.param(
      point, count, late, step, id=what.replace(' ', '-'),
      marks=fault(number, what, f'resumes from step {step or 0}; same bits')
    )
    for number, point, count, late, what, step in KILLS
  ],
)  # fmt: skip
def test_a_run_killed_while_saving_loses_no_bit(
  runs, finish_same, tmp_path, point, count, late, resumed
):
  faults = {'kill': {'point': point, 'count': count, 'late': late}}
  run = runs.train(tmp_path, faults=faults)
  assert run.wait() == -signal.SIGKILL
  shown = finish_same(tmp_path)
  assert ('resumed at step' in shown) == (resumed is not None)
  if point in ('commit', 'prune'):
    assert f'resumed at step {resumed}' in shown
  names = {path.name for path in (tmp_path / 'checkpoints').iterdir()}
  assert names == {'12'}


@fault(6, 'killed while an older step is being removed', 'never used again')
def test_a_half_removed_step_is_no_step(runs, finish_same, tmp_path):
  run = runs.train(tmp_path, faults={'half_removed': {}})
  assert run.wait() == -signal.SIGKILL
  assert (tmp_path / 'checkpoints' / '3.removed').is_dir()
  assert 'resumed at step 6' in finish_same(tmp_path)
  assert not (tmp_path / 'checkpoints' / '3.removed').exists()


@fault(7, 'the background write fails', 'reported within a step, retried')
def test_a_failed_write_is_told_and_tried_again(finish_same, tmp_path):
  faults = {'fail_writing': {'first': 2, 'times': 1}}
  shown = finish_same(tmp_path, faults=faults)
  assert 'saving step 6' in shown
  assert 'older checkpoints are untouched; trying again' in shown


@fault(8, 'the disk is full, again and again', 'stops; older step is intact')
def test_a_full_disk_ends_the_run_with_the_older_step_whole(
  runs, finish_same, tmp_path
):
  faults = {'fail_writing': {'first': 2, 'times': 9, 'error': 'ENOSPC'}}
  run = runs.train(tmp_path, faults=faults)
  assert run.wait() == 2
  assert 'No space left on device' in str(run)
  assert f'{tmp_path / "checkpoints"} failed' in str(run)
  assert 'make room' in str(run)
  verify = runs.start(['verify', tmp_path])
  assert verify.wait() == 0
  assert '3  committed, verified' in str(verify)
  assert 'resumed at step 3' in finish_same(tmp_path)


@fault(10, 'a save is slower than the interval', 'saves wait for each other')
def test_saves_slower_than_the_interval_are_all_made(finish_same, tmp_path):
  finish_same(tmp_path, faults={'slow_writing': {'seconds': 1.0}})


@fault(11, 'two runs in one folder', 'the second is refused')
def test_a_second_run_in_the_folder_is_refused(runs, finish_same, tmp_path):
  first = runs.train(tmp_path, faults={'stall': {'batch': 7, 'seconds': 6000}})
  first.wait_for('step 5/12')
  second = runs.train(tmp_path)
  assert second.wait() == 2
  assert f'is in use by process {first.pid} on' in str(second)
  first.signal(signal.SIGKILL)
  assert first.wait() == -signal.SIGKILL
  assert f'recovered the lock of process {first.pid}' in finish_same(tmp_path)


@fault(12, 'the clock jumps back', 'the newest step is the highest number')
def test_a_clock_that_jumps_back_changes_nothing(runs, finish_same, tmp_path):
  faults = {'kill': {'point': 'commit', 'count': 3}}
  overrides = '--config.run.checkpoints_to_keep=3'
  assert runs.train(tmp_path, overrides, faults=faults).wait() < 0
  for step, time in (3, 2e9), (6, 1e9), (9, 5e8):
    os.utime(tmp_path / 'checkpoints' / str(step), (time, time))
  assert 'resumed at step 9' in finish_same(tmp_path)


@fault(13, 'an exception in the loop', 'exits non-zero; the save is whole')
def test_an_exception_in_the_loop_leaves_a_whole_save(
  runs, finish_same, tmp_path
):
  run = runs.train(tmp_path, faults={'fail_at_step': {'step': 7}})
  assert run.wait() == 1
  assert 'injected at step 7' in str(run)
  assert 'resumed at step 6' in finish_same(tmp_path)


@pytest.mark.parametrize(
  ('count', 'step'), [pytest.param(1, 4, marks=pytest.mark.chaos), (3, 12)]
)
@fault(13, 'an evaluation fails', 'its step is saved; exits 2; same bits')
def test_a_step_is_saved_if_its_evaluation_fails(
  runs, finish_same, tmp_path, count, step
):
  run = runs.train(tmp_path, faults={'fail_evaluation': {'count': count}})
  assert run.wait() == 2
  told = str(run).splitlines()[-2:]
  assert told == [
    'vit_jax: error: injected: an image is broken',
    f'Step {step} of 12 is saved. To resume: vit_jax train '
    f'--config={tmp_path}/config.json --workdir={tmp_path}',
  ]
  assert f'resumed at step {step}' in finish_same(tmp_path)


@pytest.mark.parametrize(
  'point', ['mark', pytest.param('evaluation', marks=pytest.mark.chaos)]
)
@fault(61, 'killed before the best step is marked', 'same best step; same bits')
def test_a_run_killed_before_it_marks_the_best_step_keeps_the_same(
  runs, finish_same, tmp_path, point
):
  keep = '--config.run.keep_best=true'
  kill = {'kill': {'point': point, 'count': 2, 'late': point == 'evaluation'}}
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  finish_same(whole, keep)  # It changes nothing else.
  assert runs.train(killed, keep, faults=kill).wait() == -signal.SIGKILL
  assert 'resumed at step' in finish_same(killed, keep)
  names = [
    sorted(path.name for path in (folder / 'checkpoints').iterdir())
    for folder in (whole, killed)
  ]
  assert names[0] == names[1]
  assert best.read(killed / 'checkpoints') == best.read(whole / 'checkpoints')
