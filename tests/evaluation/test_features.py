"""Features are gathered once each, in order, whatever the batches."""

import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.evaluation import features
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement


def make_batches(x, label, size, seed=None):
  """Yields padded batches whose image is the feature, perhaps shuffled."""
  order = np.arange(len(x))
  if seed is not None:
    np.random.default_rng(seed).shuffle(order)
  for start in range(0, len(x), size):
    rows = order[start : start + size]
    missing = size - len(rows)
    yield {
      'image': np.pad(x[rows], ((0, missing), (0, 0)), constant_values=np.nan),
      'label': np.pad(label[rows], (0, missing)).astype(np.int32),
      'index': np.pad(rows, (0, missing)).astype(np.int32),
      'mask': np.arange(size) < len(rows),
    }


def embed(batch):
  return batch['image']


@pytest.fixture
def examples():
  rng = np.random.default_rng(0)
  label = rng.integers(0, 3, 21).astype(np.int32)
  return rng.standard_normal((21, 4), np.float32), label


@pytest.mark.parametrize('size, seed', [(1, None), (8, None), (64, 3), (8, 3)])
def test_every_example_comes_once_and_in_order(examples, size, seed):
  x, label = examples
  found = features.collect(embed, make_batches(x, label, size, seed))
  np.testing.assert_array_equal(found.features, x)
  np.testing.assert_array_equal(found.label, label)
  np.testing.assert_array_equal(found.index, np.arange(21))


def test_features_that_are_split_over_devices_are_gathered(examples):
  x, label = examples
  mesh = meshes.build(schema.default().mesh)
  assert mesh.size == 8
  batches = (
    placement.to_devices(batch, mesh) for batch in make_batches(x, label, 8)
  )
  found = features.collect(jax.jit(lambda batch: batch['image'] * 2), batches)
  np.testing.assert_array_equal(found.features, 2 * x)
  np.testing.assert_array_equal(found.label, label)


def test_those_without_label_can_be_left_out(examples):
  x, label = examples
  label[::2] = -1
  found = features.collect(embed, make_batches(x, label, 8)).labelled()
  np.testing.assert_array_equal(found.features, x[1::2])
  np.testing.assert_array_equal(found.index, np.arange(21)[1::2])
  label[:] = -1
  found = features.collect(embed, make_batches(x, label, 8))
  with pytest.raises(errors.UserError, match='no labelled example'):
    found.labelled()


def test_no_batch_is_a_user_error():
  with pytest.raises(errors.UserError, match='no example'):
    features.collect(embed, [])


TWO_PROCESSES = """
import sys
import jax
import numpy as np

port, process = map(int, sys.argv[1:])
jax.config.update('jax_num_cpu_devices', 2)
jax.distributed.initialize(f'127.0.0.1:{port}', 2, process)

from vit_jax.config import schema
from vit_jax.evaluation import features
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement

mesh = meshes.build(schema.default().mesh)

def batches():
  # Of each batch of 8 rows this process has 4; examples 0 to 20 are real.
  for start in range(4 * process, 24, 8):
    index = np.arange(start, start + 4)
    yield placement.to_devices({
      'image': np.stack([index, index**2], -1).astype(np.float32),
      'label': (index % 5).astype(np.int32),
      'index': index,
      'mask': index < 21,
    }, mesh)

found = features.collect(jax.jit(lambda batch: batch['image']), batches())
print(found.index.tolist(), found.label.tolist(), found.features[:, 1].tolist())
"""


def test_two_processes_both_get_every_example_once():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = str(free.getsockname()[1])
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', TWO_PROCESSES, port, str(number)],
      stdout=subprocess.PIPE,
      text=True,
    )
    for number in range(2)
  ]
  printed = [process.communicate(timeout=600)[0] for process in processes]
  index = list(range(21))
  wanted = f'{index} {[i % 5 for i in index]} {[float(i**2) for i in index]}\n'
  # Gloo, too, prints to stdout.
  assert [text.splitlines(True)[-1] for text in printed] == [wanted, wanted]
