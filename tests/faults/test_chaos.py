"""Faults 33 to 35: killed at random, again and again."""

import concurrent.futures
import pathlib
import random
import signal
import time
import types

import pytest

fault = pytest.mark.fault
AT_ONCE = 2  # Runs.
HERE = pathlib.Path(__file__).parent


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


# The measuring itself ---------------------------------------------------------


class Ending:
  """A run that has ended before, or as, it is killed; and its `Runs`."""

  pid = 1

  def __init__(self, seen, status):
    self.seen, self.status, self.finished = seen, status, False

  def train(self, *_, **__):
    return self

  def ask(self, _):
    return self.seen

  def signal(self, number):
    assert number == signal.SIGKILL and self.seen is None

  def wait(self):
    return self.status

  def finish(self, *_, **__):
    self.finished = True

  def outcome(self, _):
    return 'the same bits'

  def indices(self, _):
    return {}

  def assert_same(self, ours, theirs):
    assert ours == theirs


@pytest.mark.parametrize(
  ('seen', 'status', 'num_kills'),
  [(0, 0, 0), (None, 0, 0), (None, -signal.SIGKILL, 1)],
)
def test_a_run_that_ends_before_the_kill_is_no_difference(
  tmp_path, seen, status, num_kills
):
  run = Ending(seen, status)
  seed = 3  # Which draws no second kill.
  reference = 'the same bits', {}
  assert survive(run, reference, tmp_path, 0, seed) == num_kills
  assert run.finished


def test_a_run_that_ends_otherwise_is_one(tmp_path):
  with pytest.raises(AssertionError):
    survive(Ending(None, 1), ('the same bits', {}), tmp_path, 0, 1)


@pytest.mark.parametrize(
  ('status', 'stats', 'told'),
  [
    (0, {}, ''),
    (1, {}, 'is left unchanged: a test failed'),
    (2, {}, 'is left unchanged: a test failed'),  # Interrupted.
    (0, {'deselected': ['one']}, 'is left unchanged: some tests'),
    (0, {'skipped': ['one']}, 'is left unchanged: some tests'),
  ],
)
def test_the_table_is_written_if_all_was_run_and_as_expected(
  tmp_path, pytestconfig, status, stats, told
):
  path, lines = tmp_path / 'faults.md', []
  path.write_text('Text.\n')
  report = types.SimpleNamespace(
    nodeid='a', user_properties=[('fault', (1, 'a fault', 'is survived'))]
  )
  reporter = types.SimpleNamespace(
    config=types.SimpleNamespace(getoption=lambda *_: str(path)),
    getreports=lambda outcome: [report] if outcome == 'passed' else [],
    write_line=lines.append,
    stats=stats,
  )
  (conftest,) = (
    plugin
    for plugin in pytestconfig.pluginmanager.get_plugins()
    if getattr(plugin, '__file__', None)
    and pathlib.Path(plugin.__file__) == HERE / 'conftest.py'
  )
  conftest.pytest_terminal_summary(reporter, pytest.ExitCode(status))
  assert '| 1 | a fault | is survived | as expected |' in lines[0]
  if told:
    assert told in lines[-1] and path.read_text() == 'Text.\n'
  else:
    assert '| 1 | a fault |' in path.read_text()
