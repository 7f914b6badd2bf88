"""Which checkpoint of a run is the best, as its evaluations say: best.json.

It always names a step that is saved to its end, and that step stays until a
better one is.
"""

import json
from typing import NamedTuple

from vit_jax import files

FILE = 'best.json'


class Best(NamedTuple):
  """A step, and the metrics by which it is the best so far."""

  step: int
  score: tuple[float, ...]


def read(directory):
  """Returns the `Best` of a folder of checkpoints, or None."""
  try:
    found = files.read_json(files.path(directory) / FILE)
    return Best(int(found['step']), tuple(map(float, found['score'])))
  except (OSError, ValueError, KeyError, TypeError, OverflowError):
    return None


def write(directory, found):
  """Replaces what `read` returns."""
  text = json.dumps(found._asdict())
  files.write_text(files.path(directory) / FILE, f'{text}\n')
