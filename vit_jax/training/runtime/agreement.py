"""What the processes of one run must agree on.

Each of them reads its own configuration, code and data, and each can be told
to stop; they train one model only if all of these are the same.
"""

import hashlib
import json
import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import errors, pytrees
from vit_jax.config import overrides


def check_same(facts):
  """Compares {name: anything JSON holds} between the processes of a run.

  Raises:
    UserError: tells what differs, and in which processes.
  """
  if jax.process_count() == 1:
    return
  wait('vit_jax:start')
  texts = [json.dumps(fact, sort_keys=True) for fact in facts.values()]
  ours = [hashlib.sha256(text.encode()).digest() for text in texts]
  ours = np.frombuffer(b''.join(ours), np.uint8).reshape(len(facts), -1)
  everyone = multihost_utils.process_allgather(ours)  # [process, fact, 32]
  for number, (name, text) in enumerate(zip(facts, texts)):
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
  """Raises UserError where a folder is not the same one for all processes."""
  if jax.process_count() == 1:
    return
  token = np.frombuffer(os.urandom(8), np.uint32)
  token = multihost_utils.broadcast_one_to_all(token)
  path = pathlib.Path(folder) / f'.seen_by_all_{bytes(token).hex()}'
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
      'a folder on a disk that all machines share.'
    )


def wait(name):
  """Waits until all processes of the run call it with this name, a new one.

  It waits for ten minutes, where the collectives of a device may give up after
  half of one.
  """
  everyone = set(range(jax.process_count()))  # Else orbax uses a collective.
  ocp.multihost.sync_global_processes(name, timeout=600, processes=everyone)


def _gather(text):
  """Returns what each process has given, in their order."""
  given = np.frombuffer(text.encode(), np.uint8)
  lengths = multihost_utils.process_allgather(np.int32(len(given)))
  padded = np.pad(given, (0, int(lengths.max()) - len(given)))
  gathered = multihost_utils.process_allgather(padded)
  return [
    row[:length].tobytes().decode() for row, length in zip(gathered, lengths)
  ]


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
    answer = self.last_answer()
    self._asked = self._any(self._flags[said])
    return answer

  def last_answer(self):
    """Returns whether any process has said so the last time, if not told."""
    answer, self._asked = self._asked, None
    return answer is not None and bool(answer)


def leave(status):
  """Ends this process, and with it whatever it waits for.

  All processes of a run call it; none leaves before the others have come.
  """
  if jax.process_count() > 1:
    jax.distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
