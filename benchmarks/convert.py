"""What it costs to load released weights, against reading their file.

  python benchmarks/convert.py [--model=ViT-L/16]

A random file of the model is written in Google's format and stays in the page
cache. Each run loads it in a fresh process that prints its own time and peak of
memory; ways are interleaved, in turns between two bare reads of the file's
bytes, and a result is the ratio to the mean of these two, of the time on the
clock and of the processor's. A turn is dropped where those two differ by more
than 15 %: something else kept the machine busy. The table has the medians.
Memory is what a process has at its peak beyond its imports, less the
parameters, in units of the largest array.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MAX_DRIFT = 0.15
CHUNK = 1 << 19
DEVICES = 8  # Of the run that splits every array.


def now():
  """Returns the time on the clock and that of the processor, in seconds."""
  return np.array([time.perf_counter(), time.process_time()])


def bare(path):
  """Reads all bytes of the file into memory that is new to the process."""
  size = os.path.getsize(path)
  start = now()
  view = memoryview(bytearray(size))
  with open(path, 'rb', buffering=0) as file:
    position = 0
    while position < size:
      position += file.readinto(view[position : position + CHUNK])
  return now() - start


def numpy(path):
  """Reads all arrays as NumPy does."""
  start = now()
  with np.load(path) as file:
    arrays = {name: file[name] for name in file.files}
  assert arrays
  return now() - start


def ours(path):
  """Loads the parameters onto the only device."""
  import jax

  def place(_, array):
    return jax.device_put(array, jax.devices()[0])

  return _load(path, place)


def sharded(path):
  """Loads the parameters split over several devices."""
  import jax

  from vit_jax.config import schema
  from vit_jax.sharding import mesh as meshes
  from vit_jax.sharding import rules

  jax.config.update('jax_num_cpu_devices', DEVICES)
  config = schema.default()
  config.mesh.fsdp = DEVICES
  mesh = meshes.build(config.mesh)
  return _load(path, None, mesh, rules)


def _load(path, place, mesh=None, rules=None):
  import jax

  from vit_jax import models, pytrees
  from vit_jax.weights import loading

  found = loading.find(path)
  wanted = models.params_of(loading.build(found), found.image_size)
  if mesh is not None:
    specs = pytrees.flatten(rules.specs(wanted, mesh))

    def place(path, array):
      sharding = jax.sharding.NamedSharding(mesh, specs[path])
      return jax.make_array_from_callback(
        array.shape, sharding, lambda index: array[index]
      )

  jax.block_until_ready(place('head/bias', _sample(wanted)))  # Starts JAX.
  _Peak.before = _Peak.now()
  start = now()
  params, _ = found.load(wanted, place=place)
  jax.block_until_ready(params)
  seconds = now() - start
  leaves = jax.tree.leaves(params)
  _Peak.params = sum(leaf.nbytes for leaf in leaves)
  _Peak.largest = max(leaf.nbytes for leaf in leaves)
  return seconds


def _sample(wanted):
  return np.zeros(wanted['head']['bias'].shape, np.float32)


class _Peak:
  """What the process has had in memory at most, in bytes."""

  before = params = largest = 0

  @staticmethod
  def now():
    # getrusage would count what the parent had before it became this process.
    status = pathlib.Path('/proc/self/status').read_text()
    return 1024 * int(status.partition('VmHWM:')[2].split()[0])


WAYS = {'bare': bare, 'numpy': numpy, 'ours': ours, 'sharded': sharded}


def measure(way, path):
  """Returns (seconds, extra memory in largest arrays) of a fresh process."""
  command = [sys.executable, __file__, f'--way={way}', f'--path={path}']
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  output = subprocess.run(
    command, env=environment, check=True, capture_output=True, text=True
  )
  *seconds, memory = map(float, output.stdout.split())
  return np.array(seconds), memory


def write(path, name):
  """Writes a random file of a model."""
  from vit_jax import models, pytrees
  from vit_jax.config import schema
  from vit_jax.weights import mapping
  from vit_jax.weights.files import npz
  from vit_jax.weights.tables import vit

  config = schema.default()
  config.model.name = name
  model = models.build(config.model, 21_843)
  shapes = pytrees.flatten(models.params_of(model, (224, 224)))
  rng = np.random.default_rng(0)
  flat = {p: rng.random(s.shape, np.float32) for p, s in shapes.items()}
  npz.save(path, mapping.to_theirs(flat, vit.rows()))


def compare(path, turns):
  ratios, extra = {way: [] for way in WAYS if way != 'bare'}, {}
  for _ in range(turns):
    for way in ratios:
      first, _ = measure('bare', path)
      seconds, extra[way] = measure(way, path)
      second, _ = measure('bare', path)
      drift = np.abs(first - second) / np.minimum(first, second)
      ratio = 2 * seconds / (first + second)
      ratios[way].append(np.where(drift < MAX_DRIFT, ratio, np.nan))
  print(f'{os.path.getsize(path) / 1e6:.0f} MB; in units of a bare read')
  for way, rows in ratios.items():
    clock, processor = np.nanmedian(rows, axis=0)
    counts = np.isfinite(rows).sum(0)
    print(
      f'{way:8} clock {clock:.2f} ({counts[0]} turns)  '
      f'processor {processor:.2f} ({counts[1]} turns)'
      + (f'  extra memory {extra[way]:.2f}' if way != 'numpy' else '')
    )


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--model', default='ViT-L/16')
  parser.add_argument('--turns', type=int, default=7)
  parser.add_argument('--way')
  parser.add_argument('--path')
  args = parser.parse_args()
  if args.way:
    seconds = WAYS[args.way](args.path)
    extra = _Peak.now() - _Peak.before - _Peak.params
    print(*seconds, extra / (_Peak.largest or 1))
    return
  with tempfile.TemporaryDirectory() as folder:
    path = f'{folder}/weights.npz'
    write(path, args.model)
    compare(path, args.turns)


if __name__ == '__main__':
  main()
