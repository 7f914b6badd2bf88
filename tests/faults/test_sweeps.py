"""Two processes on one sweep: they share its runs, also where one is killed."""

import json
import pathlib
import re
import signal

import pytest

from vit_jax.evaluation import records
from vit_jax.training import sweep, tasks
from vit_jax.training.runtime import lock, metrics_file

GRID = '--sweep=optimizer.learning_rate=0.01,0.02'
NUM_STEPS = 12  # Of `runs.recipe`.
TABLE = re.compile(r'^\| .*', re.M)


@pytest.fixture
def argv(runs, tmp_path):
  return ['sweep', str(runs.recipe), str(tmp_path / 'sweep'), GRID, '--seeds=2']


def folders(workdir):
  return sorted(path.parent for path in workdir.rglob(records.FILE))


def assert_whole(workdir, shown):
  """Each run was made once, has each step once, and all show one table."""
  found = folders(workdir)
  assert [path.parent.name for path in found[:2]] == [tasks.CHOOSING] * 2
  assert len(found) == 4
  for folder in found:
    finished = [
      line
      for line in records.read(folder / records.FILE)
      if line.get('evaluator') == 'sweep'
    ]
    assert len(finished) == 1, folder
    lines = metrics_file.read(folder)
    steps = [line['step'] for line in lines if line['split'] == 'train']
    assert steps == list(range(1, NUM_STEPS + 1))
  assert len({tuple(TABLE.findall(text)) for text in shown}) == 1
  (row,) = json.loads((workdir / sweep.FILE).read_text())
  assert f'| {100 * row["accuracy"]:.2f} ± ' in shown[0]


@pytest.mark.chaos
def test_two_at_once_share_the_runs_and_end_with_one_table(runs, argv):
  started = [runs.start(argv) for _ in range(2)]
  assert [each.wait() for each in started] == [0, 0], '\n'.join(
    map(str, started)
  )
  shown = [str(each) for each in started]
  assert_whole(pathlib.Path(argv[2]), shown)
  made = re.findall(r'^(\S+): running$', '\n'.join(shown), re.M)
  assert len(made) == len(set(made)) == 4


def test_the_run_of_one_that_is_killed_is_resumed_by_the_other(
  runs, argv, wait_until
):
  workdir = pathlib.Path(argv[2])
  slow = {'stall': {'batch': 5, 'seconds': 2}}
  killed = runs.start(argv, slow)

  def at_it(run):
    holders = [
      lock._parsed(path.read_bytes()) for path in workdir.rglob(lock.FILE)
    ]
    return run.pid in [each['pid'] for each in holders if each]

  wait_until(lambda: at_it(killed))
  other = runs.start(argv, slow)
  wait_until(lambda: at_it(other))
  killed.signal(signal.SIGKILL)
  assert killed.wait() == -signal.SIGKILL
  assert other.wait() == 0, str(other)
  again = runs.start(argv)
  assert again.wait() == 0, str(again)
  assert ': running' not in str(again)
  assert_whole(workdir, [str(other), str(again)])
