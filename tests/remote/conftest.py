"""Stores to test with: `store`, of each kind."""

import itertools

import pytest

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
