"""Consensus and consistency checks between the processes of one run.

Each of them reads its own configuration, code and data, which must be the same,
and each can receive a signal to stop, on which all must agree.
"""

import hashlib
import json
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors, files, pytrees
from vit_jax.config import overrides


def check_same(values):
  """Compares {name: JSON value} between the processes of a run.

  Raises:
    UserError: names what differs, and in which processes.
  """
  if jax.process_count() == 1:
    return
  wait('vit_jax:start')
  texts = [json.dumps(value, sort_keys=True) for value in values.values()]
  ours = [hashlib.sha256(text.encode()).digest() for text in texts]
  ours = np.frombuffer(b''.join(ours), np.uint8).reshape(len(values), -1)
  everyone = multihost_utils.process_allgather(ours)  # [process, value, 32]
  for number, (name, text) in enumerate(zip(values, texts)):
    digests = everyone[:, number]
    differing = np.flatnonzero((digests != digests[0]).any(-1)).tolist()
    if differing:
      gathered = _gather(text)
      given, wanted = (
        overrides.flatten({name: json.loads(gathered[process])})
        for process in (differing[0], 0)
      )
      listed = '\n'.join(f'  {line}' for line in pytrees.diff(given, wanted))
      raise errors.UserError(
        f'Process {", ".join(map(str, differing))} has another {name} than '
        f'process 0:\n{listed}\nStart all processes of a run from the same '
        'code, configuration and data.'
      )


def check_shared(folder):
  """Raises UserError unless all processes see the same folder."""
  if jax.process_count() == 1:
    return
  token = np.frombuffer(os.urandom(8), np.uint32)
  token = multihost_utils.broadcast_one_to_all(token)
  path = files.path(folder) / f'.seen_by_all_{bytes(token).hex()}'
  is_first = jax.process_index() == 0
  if is_first:
    path.touch()
  wait('vit_jax:shared')
  seen = multihost_utils.process_allgather(np.array(path.exists()))
  if is_first:
    path.unlink()
  if not seen.all():
    blind = ', '.join(map(str, np.flatnonzero(~seen)))
    raise errors.UserError(
      f'--workdir={folder} of process {blind} is not that of process 0; give '
      'a folder on a file system that all machines share.'
    )


def wait(name):
  """A barrier: waits until all processes of the run call it with this new name.

  It waits for up to ten minutes, where device collectives may time out after 30
  seconds.
  """
  everyone = set(range(jax.process_count()))  # Else orbax uses a collective.
  ocp.multihost.sync_global_processes(name, timeout=600, processes=everyone)


def _gather(text):
  """Returns the text of each process, in their order."""
  given = np.frombuffer(text.encode(), np.uint8)
  lengths = multihost_utils.process_allgather(np.int32(len(given)))
  padded = np.pad(given, (0, int(lengths.max()) - len(given)))
  gathered = multihost_utils.process_allgather(padded)
  return [
    row[:length].tobytes().decode() for row, length in zip(gathered, lengths)
  ]


class Agreement:
  """Whether any process has raised its flag, as known to all.

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
    """Returns bools [devices]; those of this process are `said`."""
    return self._flags[said]

  def ask(self, said):
    """Returns whether any process said True in the previous call.

    All processes call it. With one process, the answer is `said`.
    """
    if jax.process_count() == 1:
      return said
    answer = self.last_answer()
    self._asked = self._any(self._flags[said])
    return answer

  def last_answer(self):
    """Returns the answer of the last call of `ask`; False if already given."""
    answer, self._asked = self._asked, None
    return answer is not None and bool(answer)


def leave(status):
  """Exits this process, whatever it waits for.

  All processes of a run call it; none exits before the others have come.
  """
  if jax.process_count() > 1:
    jax.distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
