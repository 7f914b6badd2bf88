"""Faults 24, 25 and 51: a run is told to stop, whatever it is at."""

import signal

import pytest

fault = pytest.mark.fault

HANG = 6000  # Seconds: for whoever waits for it, it never comes.
STATUS = 75


def stop(run, number):
  """Signals and returns the exit status."""
  run.signal(number)
  return run.wait()


@pytest.mark.parametrize(
  ('faults', 'reached', 'saved'),
  [
    pytest.param(
      {'tell': {'point': 'start', 'then': 'compute'}},
      'AT start',
      None,
      id='start-up',
      marks=fault(24, 'SIGTERM in start-up', 'exits 75 at once; same bits'),
    ),
    pytest.param(
      {'tell': {'point': 'compile', 'then': 'compute'}},
      'AT compile',
      None,
      id='compilation',
      marks=fault(24, 'SIGTERM in compilation', 'exits 75 at once; same bits'),
    ),
    pytest.param(
      {'tell': {'point': 'step', 'count': 5, 'then': 'wait'}},
      'AT step',
      5,
      id='a-step',
      marks=fault(24, 'SIGTERM in a step', 'saved, exits 75; same bits'),
    ),
    pytest.param(
      {'tell': {'point': 'evaluation', 'count': 2, 'then': 'wait'}},
      'AT evaluation',
      8,
      id='an-evaluation',
      marks=fault(24, 'SIGTERM in evaluation', 'saved, exits 75; same bits'),
    ),
    pytest.param(
      {
        'stall': {'batch': 6, 'seconds': HANG},
        'tell': {'point': 'wait', 'count': 6},
      },
      'AT wait',
      5,
      id='a-data-stall',
      marks=fault(24, 'SIGTERM in a data stall', 'saved, exits 75; same bits'),
    ),
    pytest.param(
      {
        'slow_writing': {'seconds': 2.0, 'first': 2},
        'tell': {'point': 'write', 'count': 2},
      },
      'AT write',
      None,
      id='a-save',
      marks=fault(24, 'SIGTERM in a save', 'saved, exits 75; same bits'),
    ),
  ],
)
def test_sigterm_saves_and_exits_whatever_there_is_to_wait_for(
  runs, finish_same, tmp_path, faults, reached, saved
):
  run = runs.train(tmp_path, faults=faults)
  run.wait_for(reached)
  assert stop(run, signal.SIGTERM) == STATUS, str(run)
  if saved is not None:
    assert f'Stopped after step {saved} of 12' in str(run)
    assert (tmp_path / 'checkpoints' / str(saved) / 'manifest.json').exists()
  shown = finish_same(tmp_path)
  if saved is not None:
    assert f'resumed at step {saved}' in shown


@fault(25, 'SIGTERM twice', 'exits at once')
def test_the_second_sigterm_exits_at_once(runs, finish_same, tmp_path):
  run = runs.train(tmp_path, faults={'slow_writing': {'seconds': HANG}})
  run.wait_for('step 6/12')
  run.signal(signal.SIGTERM)
  run.wait_for(
    'SIGTERM: saving'
  )  # Of two that wait to be handled, one is lost.
  assert stop(run, signal.SIGTERM) == 128 + signal.SIGTERM
  assert 'SIGTERM again' in str(run)
  finish_same(tmp_path)


@pytest.mark.parametrize(
  'number',
  [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.chaos)],
)
@fault(
  25, 'SIGINT from a person; SIGHUP', 'saved; prints how to resume; same bits'
)
def test_ctrl_c_saves_and_says_how_to_go_on(
  runs, finish_same, tmp_path, number
):
  faults = {'tell': {'point': 'step', 'count': 5, 'then': 'wait'}}
  run = runs.train(tmp_path, faults=faults)
  run.wait_for('AT step')
  assert stop(run, number) == STATUS
  config = tmp_path / 'config.json'
  assert f'vit_jax train --config={config} --workdir={tmp_path}' in str(run)
  finish_same(tmp_path)


@fault(51, 'resumed in the middle and at the edge of an epoch', 'same examples')
def test_every_example_comes_exactly_when_it_would_have(
  runs, reference, tmp_path
):
  recorded = tmp_path / 'indices'
  record = {'record_indices': {'path': str(recorded)}}
  for step in 3, 5, 10:  # An epoch is 5 steps.
    faults = {**record, 'fail_at_step': {'step': step + 1}}
    assert runs.train(tmp_path / 'run', faults=faults).wait() == 1
  runs.finish(tmp_path / 'run', faults=record)
  assert runs.indices(recorded) == reference[1]
  seen = [index for step in range(1, 11) for index in reference[1][step]]
  assert sorted(seen) == sorted([*range(40), *range(40)])
