"""What the processes of one run must agree on.

Each of them reads its own configuration, code and data, and each can be told
to stop; they train one model only if all of these are the same.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import sys
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors, preemption

_PACKAGES = ('flax', 'grain', 'jax', 'jaxlib', 'numpy', 'optax')


def code_version():
  """Returns a digest of this package's code and of the packages it uses."""
  digest = hashlib.sha256()
  for name in _PACKAGES:
    digest.update(f'{name} {importlib.metadata.version(name)}\n'.encode())
  package = pathlib.Path(__file__).parent
  for path in sorted(package.rglob('*.py')):
    digest.update(str(path.relative_to(package)).encode())
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]


def check_same(facts):
  """Compares {name: anything JSON holds} between the processes of a run.

  Raises:
    UserError: names what differs, and in which processes.
  """
  if jax.process_count() == 1:
    return
  wait('vit_jax:start')
  texts = [json.dumps(fact, sort_keys=True) for fact in facts.values()]
  ours = [hashlib.sha256(text.encode()).digest() for text in texts]
  ours = np.frombuffer(b''.join(ours), np.uint8).reshape(len(facts), -1)
  everyone = multihost_utils.process_allgather(ours)  # [process, fact, 32]
  for number, name in enumerate(facts):
    differing = np.flatnonzero(
      (everyone[:, number] != everyone[0, number]).any(-1)
    )
    if len(differing):
      raise errors.UserError(
        f'Process {", ".join(map(str, differing))} has another {name} than '
        'process 0. Start all processes of a run from the same code, '
        'configuration and data.'
      )


def wait(name):
  """Waits until all processes of the run call it with this name.

  It waits for ten minutes, where the collectives of a device may give up after
  half of one.
  """
  if jax.process_count() > 1:
    ocp.multihost.sync_global_processes(name, timeout=600)


class Agreement:
  """Whether any process says so.

  Args:
    mesh: of the run.
  """

  def __init__(self, mesh):
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    self._flags = {
      said: jax.make_array_from_callback(
        (mesh.size,), sharding, lambda _, said=said: np.array([said])
      )
      for said in (False, True)
    }
    self._any = jax.jit(jnp.any)
    self._asked = None

  def flags(self, said):
    """Returns bools [devices], those of this process being `said`."""
    return self._flags[said]

  def ask(self, said):
    """Returns whether any process has said so the time before.

    All processes call it. On one process, the answer is of this time.
    """
    if jax.process_count() == 1:
      return said
    answer, self._asked = self._asked, self._any(self._flags[said])
    return answer is not None and bool(answer)


@contextlib.contextmanager
def ends_all():
  """Ends this process at once where an error ends a run of several.

  An orderly end would wait for the others, and they for this one.
  """
  try:
    yield
  except Exception as error:
    agreed = isinstance(error, preemption.Preempted)
    if agreed or jax.process_count() == 1:
      raise
    if isinstance(error, errors.UserError):
      print(f'vit_jax: error: {error}', file=sys.stderr)
    else:
      traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2 if isinstance(error, errors.UserError) else 1)


def leave(status):
  """Ends this process, and with it whatever it waits for.

  All processes of a run call it; none leaves before the others have come.
  """
  if jax.process_count() > 1:
    jax.distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
