"""What installed packages add to the tables of this one: sources, models, ...

A package has an entry point of the group GROUP, a function that calls
`vit_jax.register`. It is loaded when a name is in no table; until then, no code
of the package runs.
"""

import importlib.metadata
import sys
import threading

from vit_jax import errors

GROUP = 'vit_jax.plugins'

_lock = threading.RLock()  # A plugin may look a name up itself.
_loaded = set()


class Registry(dict):
  """A table of choices by name, which plugins add to.

  Args:
    kind: what the user calls an entry, e.g. 'source'.
    entries: {name: entry}, those of this package.
  """

  def __init__(self, kind, entries):
    super().__init__(entries)
    self.kind = kind

  def __contains__(self, name):
    return super().__contains__(name) or (load() and super().__contains__(name))

  def add(self, name, entry):
    """Adds an entry.

    Raises:
      UserError: there is one of this name.
    """
    if super().__contains__(name):
      raise errors.UserError(
        f'There is a {self.kind} called {name!r} already; a name is given once.'
      )
    self[name] = entry


def installed():
  """Returns whether there are any plugins."""
  return bool(importlib.metadata.entry_points(group=GROUP))


def load():
  """Loads the plugins that are installed and not loaded; returns if any were.

  One that fails is told on the terminal, and left out.
  """
  with _lock:
    found = importlib.metadata.entry_points(group=GROUP)
    new = [entry for entry in found if _key(entry) not in _loaded]
    _loaded.update(map(_key, new))
    for entry in new:
      try:
        entry.load()()
      except Exception as error:  # Of any kind: it is other people's code.
        package = f' of {entry.dist.name}' if entry.dist else ''
        problem = f'{type(error).__name__}: {error}'
        told = f'The plugin {entry.name}{package} is left out: {problem}'
        print(errors.shown(f'vit_jax: {told}'), file=sys.stderr)
    return bool(new)


def _key(entry):
  return entry.name, entry.value
