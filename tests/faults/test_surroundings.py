"""Faults 9, 48, 49, 53, 57, 60: folder, data and machine are not as thought."""

import os
import stat

import pytest

fault = pytest.mark.fault


@fault(9, 'a folder that is not writable', 'refused at the start')
def test_a_folder_that_can_not_be_written_is_refused(runs):
  run = runs.train('/proc/vit_jax')
  assert run.wait() == 2
  assert '--workdir=/proc/vit_jax cannot be written' in str(run)


@pytest.mark.parametrize('num_examples', [39, 41])
@fault(48, 'the data set has shrunk or grown', 'refused with the difference')
def test_data_that_have_changed_are_refused(runs, tmp_path, num_examples):
  faults = {'fail_at_step': {'step': 4}}
  assert runs.train(tmp_path, faults=faults).wait() == 1
  changed = {'resize_data': {'num_examples': num_examples}}
  run = runs.train(tmp_path, faults=changed)
  assert run.wait() == 2
  assert f'num_examples: 40 (wanted: {num_examples})' in str(run)


@fault(49, 'the loader fails', 'the last step is saved; exits 1; same bits')
def test_a_failing_loader_ends_the_run(runs, finish_same, tmp_path):
  run = runs.train(tmp_path, faults={'crash_loading': {'batch': 6}})
  assert run.wait() == 1
  assert 'injected: the disk is gone' in str(run)
  assert 'Step 5 of 12 is saved. To resume: vit_jax train' in str(run)
  assert 'resumed at step 5' in finish_same(tmp_path)


@fault(49, 'the loader is stuck', 'stacks of all threads; exits 70')
def test_a_stuck_loader_ends_the_run_with_stacks(runs, finish_same, tmp_path):
  dog = '--config.run.watchdog_seconds=5'
  run = runs.train(
    tmp_path, dog, faults={'stall': {'batch': 8, 'seconds': 6000}}
  )
  assert run.wait() == 70
  assert 'No progress for' in str(run)
  assert 'injections.py' in str(run) and 'vit_jax/training/train.py' in str(run)
  finish_same(tmp_path)


@fault(9, 'a save is stuck', 'stacks of all threads; exits 70')
def test_a_stuck_save_ends_the_run_with_stacks(runs, finish_same, tmp_path):
  dog = '--config.run.watchdog_seconds=5'
  faults = {'slow_writing': {'seconds': 6000, 'first': 2}}
  run = runs.train(tmp_path, dog, faults=faults)
  assert run.wait() == 70
  assert 'in _save_fn' in str(run) or 'injections.py' in str(run)
  finish_same(tmp_path)


@pytest.mark.chaos
@fault(53, 'every file of the compilation cache is broken', 'the same bits')
def test_a_broken_compilation_cache_changes_nothing(
  runs, finish_same, tmp_path
):
  cache = {'jax_compilation_cache_dir': str(tmp_path / 'cache')}
  runs.finish(tmp_path / 'first', settings=cache)
  for path in (tmp_path / 'cache').rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  finish_same(tmp_path / 'second', settings=cache)


@fault(57, 'the requested platform is missing', 'one clear line')
def test_a_missing_platform_is_one_line(runs, tmp_path):
  run = runs.train(tmp_path, settings={'jax_platforms': 'cuda'})
  assert run.wait() == 2
  lines = [line for line in str(run).splitlines() if 'error' in line]
  assert len(lines) == 1 and 'JAX finds no device' in lines[0]


@fault(60, 'another time zone, locale and umask', 'the same bits and names')
def test_time_zone_locale_and_umask_change_nothing(runs, finish_same, tmp_path):
  finish_same(tmp_path / 'run', faults={'elsewhere': {}})
  assert (tmp_path / 'run' / 'checkpoints' / '12').is_dir()
  mode = stat.S_IMODE(os.stat(tmp_path / 'run' / 'config.json').st_mode)
  assert mode == 0o600
