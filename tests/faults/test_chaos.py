"""Faults 33 to 35: killed at random, again and again."""

import concurrent.futures
import random
import signal
import time

import pytest

fault = pytest.mark.fault
AT_ONCE = 2  # Runs.


def survive(runs, reference, folder, seconds, seed):
  """Kills a run at random instants, lets it finish, and compares all bits.

  A run that is too fast to be killed has finished by itself, which is fine.
  Returns the number of kills that met a living process.
  """
  draw = random.Random(seed)
  recorded = folder / 'indices'
  record = {'record_indices': {'path': str(recorded)}}
  num_kills = 0
  while True:
    run = runs.train(folder / 'run', faults=record)
    time.sleep(draw.uniform(0, seconds))
    status = runs.ask({'poll': run.pid})
    if status is None:
      run.signal(signal.SIGKILL)
      status = run.wait()  # It may have ended in between.
    if status == 0:
      break
    assert status == -signal.SIGKILL, str(run)
    num_kills += 1
    if draw.random() < 0.7:  # Else the resumed run is killed, too.
      break
  runs.finish(folder / 'run', faults=record)
  runs.assert_same(runs.outcome(folder / 'run'), reference[0])
  assert runs.indices(recorded) == reference[1]
  return num_kills


@pytest.mark.parametrize(
  'num_runs',
  [
    pytest.param(2, marks=fault(34, 'killed at random, resumed', 'same bits')),
    pytest.param(
      None,  # As --kills says.
      marks=[
        pytest.mark.chaos,
        fault(
          33, 'runs killed at random instants', 'all final states the same'
        ),
      ],
    ),
  ],
)
def test_random_kills_change_no_bit(
  runs, reference, tmp_path, record_property, pytestconfig, num_runs
):
  if num_runs is None:
    num_runs = pytestconfig.getoption('--kills')
  began = time.monotonic()
  runs.finish(tmp_path / 'warm')
  seconds = 1.2 * (time.monotonic() - began)  # Others run beside it.

  def trial(seed):
    folder = tmp_path / str(seed)
    folder.mkdir()
    return survive(runs, reference, folder, seconds, seed)

  with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
    num_kills = sum(pool.map(trial, range(num_runs)))
  record_property('seen', f'{num_runs}/{num_runs} the same, {num_kills} kills')
