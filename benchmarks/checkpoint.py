"""What the protections of a run cost, as ratios measured side by side.

  python benchmarks/checkpoint.py --variant=S/16 --batch_size=8

Each pair is timed in turns in one process, so that a busy machine slows both.
"""

import argparse
import contextlib
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from etils import epath

from vit_jax.checkpoints import digests, manager
from vit_jax.config import schema
from vit_jax.evaluation import metrics
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import assembly, progress
from vit_jax.training.runtime import agreement as agreements
from vit_jax.training.runtime import preemption, watchdog

NUM_CLASSES = 1000
SAVE_EVERY = 100  # Steps.


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--variant', default='S/16')
  parser.add_argument('--batch_size', type=int, default=8)
  parser.add_argument('--repeats', type=int, default=8)
  args = parser.parse_args()

  config = schema.default()
  config.model.name = f'ViT-{args.variant}'
  config.optimizer.warmup_steps = 0
  mesh = meshes.build(config.mesh)
  components = assembly.build(config, NUM_CLASSES, mesh, num_steps=1000)
  batch = some_batch(components, args.batch_size)

  step_seconds = protections(components, batch, args.repeats)
  with tempfile.TemporaryDirectory() as folder:
    saves(components, batch, pathlib.Path(folder), args.repeats, step_seconds)
    restores(components, pathlib.Path(folder), args.repeats)


def some_batch(components, size):
  rows, columns = components.image_size
  draw = np.random.default_rng(0)
  local = {
    'image': draw.integers(0, 256, (size, rows, columns, 3), np.uint8),
    'label': draw.integers(0, NUM_CLASSES, size, np.int32),
    'mask': np.ones(size, bool),
    'index': np.arange(size),
  }
  return placement.to_devices(local, components.mesh)


def bare_step(components):
  """Returns a training step that checks nothing."""

  def step(state, batch):
    rng = jax.random.fold_in(state.rng, state.step)
    grads, means = jax.grad(components.objective.loss, has_aux=True)(
      state.params, batch, rng
    )
    updates, opt_state = components.optimizer.update(
      grads, state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return state.replace(
      step=state.step + 1, params=params, opt_state=opt_state
    ), means

  shardings = jax.tree.map(lambda leaf: leaf.sharding, components.state)
  return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))


def protections(components, batch, repeats):
  """Times steps with everything that guards them, and with nothing."""
  agreement = agreements.Agreement(components.mesh)
  with contextlib.ExitStack() as stack:
    stop = stack.enter_context(preemption.Stop())
    stop.mark_ready()
    dog = stack.enter_context(watchdog.Watchdog(600, lambda: 0))
    endless = iter(lambda: batch, None)
    fed = dog.watch(stop.iterate(endless, lambda: batch))
    told = progress.Progress(Silent(), lambda step: True, 3)
    guarded = components.train_step(max_in_row=3, loss_spike_factor=10.0)
    bare = bare_step(components)
    state = components.init(0)

    def with_all(state, number):
      state, means = guarded(state, next(fed), agreement.flags(False))
      told.log_step(number, means, now=True, take_wait=lambda: 0.0)
      return state

    def with_nothing(state, _):
      state, means = bare(state, batch)
      metrics.compute(jax.device_get(means))
      return state

    seconds = {with_all: [], with_nothing: []}
    for number in range(repeats + 1):
      for step, times in seconds.items():
        began = time.perf_counter()
        state = jax.block_until_ready(step(state, number))
        times.append(time.perf_counter() - began)
  on, off = (times[1:] for times in seconds.values())  # The first compiles.
  tell('protections: step time, on / off', ratio(on, off), 1.01)
  return statistics.median(off)


def saves(components, batch, folder, repeats, step_seconds):
  """Times saves in the background of steps, and digests by themselves."""
  step = bare_step(components)
  state = components.init(0)
  for _ in range(3):  # Moments that are not all zero, as zeros compress well.
    state, _ = step(state, batch)
  saved = manager.CheckpointManager(folder / 'ours', 1, say=print)
  lost, whole, digest = [], [], []
  for number in range(repeats + 1):
    began = time.perf_counter()
    digests.of(state)
    digest.append(time.perf_counter() - began)
    began = time.perf_counter()
    saved.save(number, state, {})
    saved.wait()
    whole.append(time.perf_counter() - began)
    began, count = time.perf_counter(), 0
    saved.save(1000 + number, state, {}, scheduled=False)
    while not count or saved._thread.is_alive():
      state, means = step(state, batch)
      jax.block_until_ready(means)
      count += 1
    busy = time.perf_counter() - began
    saved.wait()
    began = time.perf_counter()
    for _ in range(count):
      state, means = step(state, batch)
      jax.block_until_ready(means)
    lost.append(busy - (time.perf_counter() - began))
  share = statistics.median(lost[1:]) / (SAVE_EVERY * step_seconds)
  tell(f'a save every {SAVE_EVERY} steps: share of the time', share, 0.01)
  tell('digests: share of a save', ratio(digest[1:], whole[1:]), 0.02)


def restores(components, folder, repeats):
  """Times ours, which verifies, against orbax alone."""
  saved = manager.CheckpointManager(folder / 'ours', 1, say=print)
  step_dir = folder / 'ours' / str(saved.latest_step())
  ours, bare = [], []
  for _ in range(repeats + 1):
    began = time.perf_counter()
    jax.block_until_ready(saved.restore(components.state)[0])
    ours.append(time.perf_counter() - began)
    began = time.perf_counter()
    restored = ocp.StandardCheckpointHandler().restore(
      epath.Path(step_dir / 'state'),
      args=ocp.args.StandardRestore(components.state),
    )
    jax.block_until_ready(restored)
    bare.append(time.perf_counter() - began)
  tell('restore, ours / bare orbax', ratio(ours[1:], bare[1:]), 1.2)


class Silent:
  def train(self, *_):
    pass


def ratio(times, others):
  """Returns the median of the ratios of times taken one after the other."""
  return statistics.median(a / b for a, b in zip(times, others))


def tell(what, value, goal):
  verdict = 'ok' if value <= goal else 'MISSED'
  print(f'{what:50}{value:8.4f}   goal {goal:g}  {verdict}', flush=True)


if __name__ == '__main__':
  main()
