"""Faults 50 and 56: what is compiled, how often, and not at all."""

import collections

import pytest

fault = pytest.mark.fault


def compilations(path):
  """Returns how often each line of `record_compilations` was written."""
  return collections.Counter(path.read_text().splitlines())


def start(runs, folder, cache_dir, **together):
  """Trains in a new folder and returns what each process has compiled."""
  settings = {'jax_compilation_cache_dir': str(cache_dir)}
  paths = [folder / f'compiled_{number}' for number in range(2)]
  faults = [{'record_compilations': {'path': str(path)}} for path in paths]
  folder.mkdir()
  if together:
    runs.finish_together(folder / 'run', faults=faults, settings=settings)
    return [compilations(path) for path in paths]
  runs.finish(folder / 'run', faults=faults[0], settings=settings)
  return [compilations(paths[0])]


@fault(50, 'an evaluation whose last batch is not full', 'one compilation')
@fault(56, 'the second start, from the compilation cache', 'no compilation')
def test_each_step_is_compiled_once_and_the_second_start_compiles_nothing(
  runs, tmp_path
):
  (first,) = start(runs, tmp_path / 'first', tmp_path / 'cache')
  assert first['program jit(train_step)'] == 1
  assert first['program jit(predict)'] == 1
  assert first['program jit(merge)'] == 1  # Of batches of an evaluation.
  assert first['cache_misses'] > 0
  (second,) = start(runs, tmp_path / 'second', tmp_path / 'cache')
  assert second['program jit(train_step)'] == 1
  assert second['cache_hits'] == second['compile_requests_use_cache'] > 0


@pytest.mark.chaos
@fault(56, 'the second start of two processes', 'no compilation in process 0')
def test_the_second_start_of_the_first_of_two_compiles_nothing(runs, tmp_path):
  """On CPUs what one process has compiled is of no use to another."""
  start(runs, tmp_path / 'first', tmp_path / 'cache', together=True)
  second, other = start(
    runs, tmp_path / 'second', tmp_path / 'cache', together=True
  )
  assert second['cache_hits'] == second['compile_requests_use_cache'] > 0
  assert other['program jit(train_step)'] == 1
