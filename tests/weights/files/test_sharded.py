"""Weights in several files are those of one, or refused by name."""

import json

import numpy as np
import pytest

from vit_jax.weights.files import safetensors, sharded, weights_file

FLAT = {
  f'layer.{i}.weight': np.full((2, i + 1), i, np.float32) for i in range(5)
}
FIRST, SECOND = (f'model-0000{i}-of-00002.safetensors' for i in (1, 2))
WHERE = {name: FIRST if i < 3 else SECOND for i, name in enumerate(FLAT)}


def write(folder, where=WHERE, flat=FLAT, index=None):
  """Writes shards and their index, of which it returns the path."""
  for shard in set(where.values()):
    part = {name: flat[name] for name in flat if where[name] == shard}
    safetensors.save(folder / shard, part, {'format': 'pt'})
  index = index or {'metadata': {'total_size': 120}, 'weight_map': where}
  (folder / sharded.INDEX).write_text(json.dumps(index))
  return folder / sharded.INDEX


def test_shards_have_the_arrays_of_one_file(tmp_path):
  safetensors.save(tmp_path / 'one.safetensors', FLAT)
  with (
    sharded.opened(tmp_path / 'one.safetensors') as one,
    sharded.opened(write(tmp_path)) as several,
  ):
    assert several.headers == one.headers
    for name in one:
      np.testing.assert_array_equal(several[name], one[name])


@pytest.mark.parametrize(
  'shard',
  [
    *('../a.safetensors', 'b/a.safetensors', '/etc/a.safetensors', '..'),
    *('a\\b.safetensors', 'gs://b/a.safetensors', '.safetensors', 'a.bin'),
    *('a\n.safetensors', 'é.safetensors', 'a' * 300 + '.safetensors', 3, None),
  ],
)
def test_a_shard_is_a_file_beside_the_index(shard, tmp_path):
  path = write(tmp_path, index={'weight_map': {'a': shard}})
  with pytest.raises(weights_file.WeightsFileError, match='shard beside it'):
    sharded.opened(path)


@pytest.mark.parametrize(
  ('index', 'message'),
  [
    ([], 'it has no weight_map'),
    ({}, 'it has no weight_map'),
    ({'weight_map': {}}, 'it has no weight_map'),
    ({'weight_map': {'../a': FIRST}}, 'no path of a parameter'),
    (
      {'weight_map': {f'{i}': f'{i}.safetensors' for i in range(201)}},
      'more than 200 shards',
    ),
    ({'weight_map': {f'{i}': FIRST for i in range(5001)}}, '5001 arrays'),
    ({'weight_map': WHERE | {'more': FIRST}}, 'more is in .*, and it is not'),
    (
      {'weight_map': {n: w for n, w in WHERE.items() if 'er.4' not in n}},
      'holds layer.4.weight, of which',
    ),
    (
      {'weight_map': WHERE | {'layer.0.weight': SECOND}},
      'layer.0.weight is in .*00002-of',
    ),
  ],
)
def test_an_index_that_does_not_fit_is_refused(index, message, tmp_path):
  path = write(tmp_path)
  path.write_text(json.dumps(index))
  with pytest.raises(weights_file.WeightsFileError, match=message):
    sharded.opened(path)


def test_an_array_is_in_one_shard_only(tmp_path):
  path = write(tmp_path)
  safetensors.save(
    tmp_path / SECOND, {n: FLAT[n] for n in FLAT if n != 'layer.1.weight'}
  )
  with pytest.raises(weights_file.WeightsFileError, match='does not say so'):
    sharded.opened(path)


def test_a_missing_shard_is_named(tmp_path):
  path = write(tmp_path)
  (tmp_path / SECOND).unlink()
  with pytest.raises(
    weights_file.WeightsFileError, match=f'{SECOND} is missing'
  ):
    sharded.opened(path)


def test_closing_it_closes_its_shards(tmp_path):
  path = write(tmp_path)
  file = sharded.ShardedFile(path)
  file.close()
  with pytest.raises(ValueError, match='closed'):
    file['layer.0.weight']
