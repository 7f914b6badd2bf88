"""Runs in processes of their own, to be killed, stopped and inspected.

A test of a fault is marked fault(number, what happens, what is expected); with
--faults-table=FILE, a table of all that were run is written if none differed.
"""

import itertools
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from vit_jax import files, pytrees
from vit_jax.checkpoints import manager, orbax_stores
from vit_jax.training.runtime import metrics_file

HERE = pathlib.Path(__file__).parent
NUM_STEPS = 12
LIMIT = 300  # Seconds after which a process hangs, however busy the machine is.

RECIPE = f'''"""A run of some seconds."""

from vit_jax.config import schema


def get_config():
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({{'width': 16, 'depth': 1, 'num_heads': 2}})
  config.model.mlp_dim = 32
  config.model.dropout = 0.1
  config.data.source = 'synthetic'
  config.data.update({{'num_classes': 4, 'num_examples': 40}})
  config.data.resolution = (8,)
  config.optimizer.learning_rate = 1e-2
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 8
  config.run.eval_batch_size = 16  # Of 40 examples: the last is not full.
  config.run.num_steps = {NUM_STEPS}
  config.run.log_every = 1
  config.run.eval_every = 4
  config.run.checkpoint_every = 3
  return config
'''


class Run:
  """A process of a run."""

  def __init__(self, runs, pid, output):
    self._runs = runs
    self.pid = pid
    self._output = pathlib.Path(output)

  def wait(self):
    """Returns the exit status; negative: the signal that killed it."""
    end = time.monotonic() + LIMIT
    while (status := self._runs.ask({'poll': self.pid})) is None:
      assert time.monotonic() < end, f'running after {LIMIT} s:\n{self}'
      time.sleep(0.01)
    return status

  def wait_for(self, text):
    end = time.monotonic() + LIMIT
    while text not in str(self):
      assert time.monotonic() < end, f'{text!r} never came:\n{self}'
      time.sleep(0.005)

  def signal(self, number):
    os.kill(self.pid, number)

  def __str__(self):
    return self._output.read_text() if self._output.exists() else ''


class Runs:
  """Starts runs, by zygote.py, and looks at what they leave."""

  def __init__(self, folder, cache_dir, environment=None):
    self._folder = folder
    self._count = itertools.count()
    self._lock = threading.Lock()
    self._settings = {
      'jax_compilation_cache_dir': str(cache_dir),
      'jax_persistent_cache_min_compile_time_secs': 0.0,
      'jax_persistent_cache_min_entry_size_bytes': -1,
      'jax_num_cpu_devices': 1,
    }
    self.recipe = folder / 'tiny.py'
    self.recipe.write_text(RECIPE)
    self._process = subprocess.Popen(
      [sys.executable, str(HERE / 'zygote.py')],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={**os.environ, 'JAX_PLATFORMS': 'cpu', **(environment or {})},
      start_new_session=True,
    )

  def ask(self, order):
    with self._lock:
      self._process.stdin.write(json.dumps(order) + '\n')
      self._process.stdin.flush()
      return json.loads(self._process.stdout.readline())

  def start(self, argv, faults=None, settings=None):
    """Starts `vit_jax ARGV`."""
    output = self._folder / f'output_{next(self._count)}.txt'
    pid = self.ask(
      {
        'start': {
          'argv': [str(argument) for argument in argv],
          'output': str(output),
          'settings': {**self._settings, **(settings or {})},
          'faults': faults or {},
        }
      }
    )
    return Run(self, pid, output)

  def train(self, workdir, *overrides, **options):
    argv = ['train', f'--config={self.recipe}', f'--workdir={workdir}']
    return self.start([*argv, *overrides], **options)

  def finish(self, workdir, *overrides, **options):
    """Trains to the end and returns what was shown."""
    run = self.train(workdir, *overrides, **options)
    assert run.wait() == 0, str(run)
    return str(run)

  def start_together(
    self, argv, faults=({}, {}), settings=None, heartbeat=10, last=()
  ):
    """Starts `vit_jax ARGV` in several processes, with one device each.

    Args:
      faults: one for each process.
      heartbeat: seconds after which JAX itself misses a process.
      last: further arguments, of the last process alone.
    """
    with socket.socket() as free:
      free.bind(('localhost', 0))
      address = f'localhost:{free.getsockname()[1]}'
    return [
      self.start(
        [
          *argv,
          *(last if number == len(faults) - 1 else ()),
          f'--coordinator={address}',
          f'--num_processes={len(faults)}',
          f'--process_id={number}',
        ],
        {'heartbeat': {'seconds': heartbeat}, **faults[number]},
        settings,
      )
      for number in range(len(faults))
    ]

  def train_together(self, workdir, *overrides, **options):
    argv = ['train', f'--config={self.recipe}', f'--workdir={workdir}']
    return self.start_together([*argv, *overrides], **options)

  def finish_together(self, workdir, *overrides, count=2, **options):
    """Trains to the end in `count` processes and returns what each showed."""
    options = {'faults': ({},) * count, **options}
    processes = self.train_together(workdir, *overrides, **options)
    statuses = [process.wait() for process in processes]
    assert statuses == [0] * count, '\n'.join(map(str, processes))
    return [str(process) for process in processes]

  @staticmethod
  def arrays(workdir, step=NUM_STEPS):
    """Returns {path: NumPy array} of a checkpoint, read by orbax alone."""
    folder = files.path(workdir) / 'checkpoints' / str(step) / 'state'
    folder = orbax_stores.path(folder)
    handler = ocp.StandardCheckpointHandler()
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=sharding
      ),
      handler.metadata(folder).tree,
    )
    tree = handler.restore(folder, args=ocp.args.StandardRestore(shapes))
    tree['rng'] = jax.random.key_data(tree['rng'])
    return jax.tree.map(np.asarray, pytrees.flatten(tree))

  @staticmethod
  def outcome(workdir):
    """Returns all that a finished run leaves and that must be the same bits."""
    saved = manager.CheckpointManager(
      files.path(workdir) / 'checkpoints', keep=1, read_only=True
    )
    assert saved.latest_step() == NUM_STEPS
    metrics = (files.path(workdir) / metrics_file.FILE).read_text()
    return {'metrics': metrics, **Runs.arrays(workdir)}

  @staticmethod
  def indices(path):
    """Returns {step: examples} of `record_indices`, where repeats agree."""
    found = {}
    for line in path.read_text().splitlines():
      step, index = json.loads(line)
      assert found.setdefault(step, index) == index
    return found

  @staticmethod
  def assert_same(ours, theirs):
    """Compares two outcomes, bit by bit."""
    assert ours.keys() == theirs.keys()
    for path in ours:
      np.testing.assert_array_equal(ours[path], theirs[path], err_msg=path)

  def close(self):
    self._process.stdin.close()
    self._process.wait()


@pytest.fixture(scope='session')
def runs(tmp_path_factory):
  shared = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:  # All workers compile it once.
    shared = shared.parent
  runs = Runs(tmp_path_factory.mktemp('runs'), shared / 'compiled')
  yield runs
  runs.close()


@pytest.fixture(scope='session')
def reference(runs, tmp_path_factory):
  """The outcome of a run that nothing interrupts, and its examples by step."""
  workdir = tmp_path_factory.mktemp('reference')
  recorded = workdir / 'indices'
  runs.finish(workdir, faults={'record_indices': {'path': str(recorded)}})
  return runs.outcome(workdir), runs.indices(recorded)


@pytest.fixture(scope='session')
def together(runs, tmp_path_factory):
  """The folder of a run of two processes, and what each has shown."""
  workdir = tmp_path_factory.mktemp('together')
  return workdir, runs.finish_together(workdir)


@pytest.fixture
def finish_same(runs, reference):
  """Resumes a run to its end; it must be the reference, bit for bit."""

  def finish(workdir, *overrides, **options):
    shown = runs.finish(workdir, *overrides, **options)
    runs.assert_same(runs.outcome(workdir), reference[0])
    return shown

  return finish


# The table -------------------------------------------------------------------

TABLE_BEGINS = '<!-- The table below is written by `make chaos`. -->'


def pytest_addoption(parser):
  parser.addoption(
    '--faults-table',
    metavar='FILE',
    help='where to write the table of faults, if all is as expected',
  )
  parser.addoption(
    '--kills', type=int, default=200, help='runs that are killed at random'
  )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
  report = yield
  if call.when == 'call' or report.failed:
    for marker in item.iter_markers('fault'):
      report.user_properties.append(('fault', marker.args))
  return report


def pytest_terminal_summary(terminalreporter, exitstatus):
  config = terminalreporter.config
  if not config.getoption('--faults-table', None):
    return
  seen = {}
  for outcome in 'passed', 'failed', 'error':
    for report in terminalreporter.getreports(outcome):
      shown = dict(report.user_properties).get('seen', 'as expected')
      if outcome != 'passed':
        shown = f'DIFFERS: {report.nodeid}'
      for name, value in report.user_properties:
        if name == 'fault':
          seen.setdefault(tuple(value), []).append(shown)
  rows = [
    f'| {number} | {what} | {expected} | {", ".join(sorted(set(shown)))} |'
    for (number, what, expected), shown in sorted(seen.items())
  ]
  header = ['| | fault | expected | seen |', '|-:|---|---|---|']
  table = '\n'.join([*header, *rows])
  terminalreporter.write_line(table)
  path = pathlib.Path(config.getoption('--faults-table'))
  stats = terminalreporter.stats
  why = 'a test failed' if exitstatus != pytest.ExitCode.OK else ''
  if stats.get('deselected') or stats.get('skipped'):
    why = why or 'some tests were left out'
  if why:
    terminalreporter.write_line(f'{path} is left unchanged: {why}.')
    return
  above = path.read_text().partition(TABLE_BEGINS)[0]
  path.write_text(f'{above}{TABLE_BEGINS}\n\n{table}\n')
