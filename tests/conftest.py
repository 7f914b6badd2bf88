"""Every test runs on eight CPU devices and gets no silent broadcasting.

What is compiled once is kept for all tests, and for the processes they start.
"""

import os
import pathlib
import time

ROOT = pathlib.Path(__file__).parents[1]

# Before JAX starts; processes that tests start inherit them.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR', str(ROOT / '.pytest_cache/jax')
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

# Nobody else may write to it; see `compilation_cache`.
if '://' not in (cache_dir := os.environ['JAX_COMPILATION_CACHE_DIR']):
  pathlib.Path(cache_dir).mkdir(mode=0o700, parents=True, exist_ok=True)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def rng():
  return jax.random.key(0)


@pytest.fixture(scope='session')
def wait_until():
  """Waits for what another thread or process does, however busy all are."""

  def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
      assert time.monotonic() < end, f'not within {seconds} s'
      time.sleep(0.01)

  return wait_until


def pytest_addoption(parser):
  parser.addoption(
    '--accept',
    action='store_true',
    help='write golden files anew (test_compiled_step.py, '
    'test_golden_specs.py), which a change was meant to change',
  )
