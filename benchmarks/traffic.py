"""What devices send each other, compiled against computed; how long it takes.

  python benchmarks/traffic.py --devices=8,64,256

The training step of a small ViT is compiled for so many forced devices of the
CPU, a process each, and what its collectives send is compared with what shapes
alone say must be sent (expected_traffic.py).
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import expected_traffic
import jax

from vit_jax.config import schema
from vit_jax.planning import collectives, topology
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly

NUM_CLASSES = 1000
TENSOR = 4  # Devices that split heads; it divides them.
STRATEGIES = {
  'DP': lambda devices: {},
  'FSDP': lambda devices: {'fsdp': devices},
  'DP x FSDP': lambda devices: {'fsdp': 8},
  'DP x TP': lambda devices: {'tensor': TENSOR},
}


INTRODUCTION = """# What devices send each other in a training step

Bytes that each device sends, as computed from the shapes of parameters and
activations (`benchmarks/expected_traffic.py`) and as read from the compiled
step, in float32, and the CPU time to compile, relative to that for one device
(`make traffic`; JAX {version}, forced CPU devices; ViT of depth {depth}, width
{width}, {images} images per device).

| mesh | devices | scan | MB by shapes | MB compiled | ratio | \
CPU seconds | one device = 1 |
|---|---|---|---|---|---|---|---|
"""


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--page', type=pathlib.Path, help='to write, Markdown')
  parser.add_argument('--devices', default='8,64,256')
  parser.add_argument('--depth', type=int, default=4)
  parser.add_argument('--width', type=int, default=256)
  parser.add_argument('--images', type=int, default=2, help='per device')
  parser.add_argument('--one', type=int, help='compile for so many, as JSON')
  args = parser.parse_args()
  if args.one:
    print(json.dumps(list(measure(args))))
    return
  page = INTRODUCTION.format(version=jax.__version__, **vars(args))
  alone = {row['scan']: row['seconds'] for row in child(args, 1)}
  for devices in map(int, args.devices.split(',')):
    for row in child(args, devices):
      ratio = row['found'] / row['expected']
      slower = row['seconds'] / alone[row['scan']]
      page += (
        f'| {row["strategy"]} | {devices} | {"yes" if row["scan"] else "no"} | '
        f'{row["expected"] / 1e6:.3f} | {row["found"] / 1e6:.3f} | '
        f'{ratio:.4f} | {row["seconds"]:.1f} | {slower:.2f} |\n'
      )
      print(page.splitlines()[-1], flush=True)
  if args.page:
    args.page.write_text(page)


def child(args, devices):
  """Returns the rows of a process that has so many devices."""
  names = ('depth', 'width', 'images')
  options = [f'--{name}={vars(args)[name]}' for name in names]
  shown = subprocess.run(
    [sys.executable, __file__, f'--one={devices}', *options],
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  return json.loads(shown.stdout.splitlines()[-1])


def measure(args):
  """Yields a row per strategy and way of compiling layers."""
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_enable_compilation_cache', False)
  devices = topology.host(args.one)
  for scan in (False, True):
    for strategy, sizes in STRATEGIES.items():
      config = some_config(args, scan, sizes(args.one) if args.one > 1 else {})
      components = assembly.build(
        config, NUM_CLASSES, meshes.build(config.mesh, devices)
      )
      lowered = components.lower_train_step(config.run)
      began = time.process_time()
      compiled = lowered.compile()
      seconds = time.process_time() - began
      traffic = collectives.traffic(compiled.as_text()).values()
      yield {
        'strategy': strategy,
        'scan': scan,
        'seconds': seconds,
        'expected': expected(args, config, components),
        'found': sum(one.num_bytes for one in traffic),
      }
      if args.one == 1:
        break  # All strategies are the same on one device.


def some_config(args, scan, mesh):
  config = schema.default()
  config.model.name = 'ViT-S/16'
  config.model.update({'width': args.width, 'depth': args.depth})
  config.model.update({'num_heads': 4, 'mlp_dim': 4 * args.width})
  config.model.update({'dropout': 0.1, 'scan': scan})
  config.optimizer.clip_norm = 1.0
  config.run.batch_size = args.images * args.one
  config.run.num_steps = 20_000
  config.mesh.update(mesh)
  return config


def expected(args, config, components):
  """Returns the bytes that each device must send in a step."""
  mesh = components.mesh.shape
  rows, columns = components.image_size
  tokens = rows // 16 * (columns // 16) + 1
  return sum(
    expected_traffic.of_parameters(
      components.state.params, layer_gathers=2 if config.model.scan else 1
    ).values()
  ) + expected_traffic.of_tensor_parallelism(
    # XLA for CPU sums what queries, keys and values say of their input apart.
    (config.run.batch_size, tokens, args.width),
    args.depth,
    mesh,
    num_sums=6,
  )


if __name__ == '__main__':
  main()
