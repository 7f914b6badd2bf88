"""Stores to test with, and runs in them: `store`, `folder`, `runs`."""

import itertools

import pytest

from tests.faults import conftest as local
from tests.remote import stores
from vit_jax import files
from vit_jax.files import remote

_NUMBERS = itertools.count()


@pytest.fixture(scope='session')
def _started():
  """Returns a function that starts a store at its first call."""
  started = {}

  def start(kind):
    if kind not in started:
      started[kind] = stores.Store(kind).__enter__()
    return started[kind]

  yield start
  for store in started.values():
    store.__exit__()


@pytest.fixture(params=stores.KINDS)
def store(request, _started, monkeypatch):
  """A store that this process and those it starts can reach."""
  store = _started(request.param)
  for name, value in store.environment.items():
    monkeypatch.setenv(name, value)
  remote.filesystem.cache_clear()
  return store


@pytest.fixture
def folder(store):
  """An empty folder of the store."""
  return files.path(f'{store.url}/{next(_NUMBERS)}')


@pytest.fixture(scope='session')
def runs(_started, tmp_path_factory):
  """Starts runs that reach all stores."""
  environment = {}
  for kind in stores.KINDS:
    environment |= _started(kind).environment
  cache_dir = tmp_path_factory.mktemp('compiled')
  runs = local.Runs(tmp_path_factory.mktemp('runs'), cache_dir, environment)
  yield runs
  runs.close()


@pytest.fixture(scope='session')
def reference(runs, tmp_path_factory):
  """What a run on the disk leaves that nothing interrupts."""
  workdir = tmp_path_factory.mktemp('reference')
  runs.finish(workdir)
  return runs.outcome(workdir)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """An empty folder for copies of objects."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return tmp_path / 'cache/vit_jax/objects'
