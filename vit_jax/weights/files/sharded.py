"""Weights in several .safetensors, and the index that says what is in which.

The index (model.safetensors.index.json) is a stranger's: a shard is a file
beside it, and each array is in exactly the one that is said.
"""

import contextlib

from vit_jax import files
from vit_jax.weights.files import safetensors, weights_file

INDEX = 'model.safetensors.index.json'
SUFFIX = '.safetensors.index.json'  # Of every such file.
MAX_SHARDS = 200  # Open at a time; of 5 GB, they hold 1 TB.

_SHARD = '.safetensors'


class ShardedFile(weights_file.WeightsFile):
  """{name: array} of all shards; each look-up reads one array."""

  def __init__(self, path):
    """Opens the shards that an index names and compares them with it.

    Raises:
      WeightsFileError: the index, or a shard, is damaged or missing, or they
        do not agree.
    """
    path = files.path(path)
    where = read_index(path)
    with contextlib.ExitStack() as stack:
      shards = {
        name: stack.enter_context(_opened(path, name))
        for name in sorted(set(where.values()))
      }
      _check_contents(path, where, shards)
      self._shards = stack.pop_all()
    self._files = {name: shards[shard] for name, shard in where.items()}
    super().__init__(
      path, {name: file.headers[name] for name, file in self._files.items()}
    )

  def __getitem__(self, name):
    return self._files[name][name]

  def close(self):
    self._shards.close()


def opened(path):
  """Returns the `WeightsFile` of a .safetensors or of the index of several."""
  if str(path).endswith(SUFFIX):
    return ShardedFile(path)
  return safetensors.SafetensorsFile(path)


def read_index(path):
  """Returns {name of an array: name of the file beside the index it is in}.

  Raises:
    WeightsFileError: it is no such index.
  """
  try:
    said = files.read_json(path)
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise _no_index(path, reason) from error
  where = said.get('weight_map') if isinstance(said, dict) else None
  if not isinstance(where, dict) or not where:
    raise _no_index(path, 'it has no weight_map')
  weights_file.check_count(path, len(where))
  for name, shard in where.items():
    weights_file.check_name(path, name)
    if not isinstance(shard, str) or not _is_file_name(shard):
      raise _no_index(
        path, f'{str(shard)[:80]!r} is not the name of a shard beside it'
      )
  if len(set(where.values())) > MAX_SHARDS:
    raise _no_index(path, f'it names more than {MAX_SHARDS} shards')
  return where


def _is_file_name(text):
  """Returns whether a text can only mean a .safetensors in the same folder."""
  return (
    text.endswith(_SHARD)
    and text != _SHARD
    and len(text) <= weights_file.MAX_NAME
    and text.isascii()
    and text.isprintable()
    and not any(sign in text for sign in '/\\:')
  )


def _no_index(path, reason):
  return weights_file.WeightsFileError(
    f'{path} is no index of weights in several files, or is damaged '
    f'({reason}); fetch it again.'
  )


def _opened(path, name):
  shard = path.parent / name
  if not files.exists(shard):
    raise weights_file.WeightsFileError(
      f'{shard} is missing, of which {path.name} says that it holds a part of '
      'the weights; fetch it, too.'
    )
  return safetensors.SafetensorsFile(shard)


def _check_contents(path, where, shards):
  """Raises WeightsFileError unless the shards hold what the index says."""
  for name, shard in where.items():
    if name not in shards[shard]:
      raise weights_file.WeightsFileError(
        f'{path} says that {name} is in {shard}, and it is not there; they '
        'are of different weights.'
      )
  for shard, file in shards.items():
    others = [name for name in file if where.get(name) != shard]
    if others:
      raise weights_file.WeightsFileError(
        f'{path.parent / shard} holds {min(others)}, of which {path.name} '
        'does not say so; they are of different weights.'
      )
