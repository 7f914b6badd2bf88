"""Every test runs on eight CPU devices and gets no silent broadcasting.

What is compiled once is kept for all tests, for the processes they start, and
for the next time, in whichever checkout: ~/.cache/vit_jax_tests.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import stat
import time

ROOT = pathlib.Path(__file__).parents[1]
KEPT_SECONDS = 30 * 24 * 3600  # What is compiled, in ~/.cache.


def _cache_dir():
  """Returns a folder that nobody else may write to; see `startup`.

  One for each jaxlib and kind of CPU: programs are of no use to another.
  """
  cpu = pathlib.Path('/proc/cpuinfo')
  lines = cpu.read_text().splitlines() if cpu.exists() else []
  kind = [line for line in lines if line.startswith(('model name', 'flags'))]
  version = importlib.metadata.version('jaxlib')
  digest = hashlib.sha256('\n'.join(sorted(set(kind))).encode()).hexdigest()
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  folder = pathlib.Path(home, 'vit_jax_tests', f'jaxlib-{version}-{digest[:8]}')
  with contextlib.suppress(OSError):
    for path in folder.parent, folder:
      path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077:
      return folder
  return ROOT / '.pytest_cache/jax'


# Before JAX starts; processes that tests start inherit them.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(_cache_dir()))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.1')
# Most of the time of the tests goes into compiling small programs that run once
# or twice. XLA plans them as ever; LLVM alone does less. See `optimized`.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')

if '://' not in (cache_dir := os.environ['JAX_COMPILATION_CACHE_DIR']):
  pathlib.Path(cache_dir).mkdir(mode=0o700, parents=True, exist_ok=True)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def rng():
  return jax.random.key(0)


@pytest.fixture(scope='module')
def optimized():
  """For a module that looks at programs as people get them, or takes long."""
  before = jax.config.values['jax_disable_most_optimizations']
  jax.config.update('jax_disable_most_optimizations', False)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@pytest.fixture
def undrawn(monkeypatch):
  """For tests of what runs do but for their plots, which take a while."""
  from vit_jax.training import train

  monkeypatch.setattr(train, '_plot', lambda *_: None)


@pytest.fixture
def drawn(monkeypatch):
  """The figures that are saved, which are drawn as well."""
  from vit_jax.evaluation import drawing

  drawn, save = [], drawing.save

  def keep(picture, path):
    drawn.append(picture)
    return save(picture, path)

  monkeypatch.setattr(drawing, 'save', keep)
  return drawn


@pytest.fixture(scope='session')
def wait_until():
  """Waits for what another thread or process does, however busy all are."""

  def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
      assert time.monotonic() < end, f'not within {seconds} s'
      time.sleep(0.01)

  return wait_until


CHROMIUM = ('chromium', 'chromium-browser', 'google-chrome')


@pytest.fixture(scope='module')
def browser():
  """Headless Chromium, as `playwright.sync_api.Browser`.

  While it is open, this thread has a running event loop of asyncio: train and
  save before, in fixtures of the module.
  """
  sync_api = pytest.importorskip(
    'playwright.sync_api', reason='no playwright; the extra [test] brings it'
  )
  program = next(filter(None, map(shutil.which, CHROMIUM)), None)
  if program is None:
    pytest.skip(f'no browser: none of {", ".join(CHROMIUM)} is installed')
  with sync_api.sync_playwright() as playwright:
    opened = playwright.chromium.launch(
      executable_path=program,
      args=['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    )
    yield opened
    opened.close()


@pytest.fixture
def browser_page(browser):
  """Returns open(path, width, height, dark) of a page on the disk.

  It returns a `playwright.sync_api.Page`. The browser is offline; the test
  fails where a page asks for anything but itself, or reports an error: these
  are in `problems` of what this returns.
  """
  problems, contexts = [], []

  def open_page(path, width=1280, height=900, dark=False, **options):
    contexts.append(
      browser.new_context(
        viewport={'width': width, 'height': height},
        color_scheme='dark' if dark else 'light',
        offline=True,
        **options,
      )
    )
    page = contexts[-1].new_page()
    address = pathlib.Path(path).resolve().as_uri()
    page.on('pageerror', lambda error: problems.append(f'error: {error}'))
    page.on(
      'console',
      lambda said: (
        said.type in ('error', 'warning')
        and problems.append(f'{said.type}: {said.text}')
      ),
    )
    page.on(
      'request',
      lambda asked: (
        asked.url.partition('#')[0] == address
        or asked.url.startswith(('data:', 'blob:'))
        or problems.append(f'it loads {asked.url[:200]}')
      ),
    )
    page.goto(address)
    return page

  open_page.problems = problems
  yield open_page
  for context in contexts:
    context.close()
  assert not problems


def pytest_sessionstart(session):
  """Drops what was compiled long ago, of older versions most of it."""
  cache = pathlib.Path(os.environ['JAX_COMPILATION_CACHE_DIR'])
  if hasattr(session.config, 'workerinput') or cache != _cache_dir():
    return
  for path in cache.parent.glob('jaxlib-*/*'):
    with contextlib.suppress(OSError):
      if path.stat().st_mtime < time.time() - KEPT_SECONDS:
        path.unlink()


def pytest_addoption(parser):
  parser.addoption(
    '--accept',
    action='store_true',
    help='write golden files anew (test_compiled_step.py, '
    'test_golden_specs.py), which a change was meant to change',
  )
  parser.addoption(
    '--python',
    help='of another version, in which test_wheel.py installs the wheel with '
    'everything that it requires',
  )
