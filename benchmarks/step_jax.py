"""Engines of benchmarks/step.py on JAX: ours, a plain ViT, and ceilings."""

import functools
import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import step_worker

from vit_jax.config import overrides
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import assembly
from vit_jax.training.runtime import startup


def ours(case):
  """Returns the step of a run, with all that guards it."""
  startup.keep_freed_memory()
  config = overrides.unflatten(case['config'], 'benchmarks/step.py')
  mesh = meshes.build(config.mesh)
  components = assembly.build(
    config, case['num_classes'], mesh, num_steps=10_000
  )
  images, labels = some_examples(case)
  batch = placement.to_devices(
    {
      'image': images,
      'label': labels,
      'mask': np.ones(len(labels), bool),
      'index': np.arange(len(labels)),
    },
    mesh,
  )
  state = components.init(0)
  if not case['train']:
    return _engine(functools.partial(components.predict(), state.params, batch))
  step = components.train_step(max_in_row=config.run.max_consecutive_skips)
  return _trainer(lambda state: step(state, batch), state)


class PlainViT(nn.Module):
  """A ViT of Flax's own layers in float32, as the released code has it."""

  patch_size: int
  width: int
  depth: int
  num_heads: int
  mlp_dim: int
  num_classes: int

  @nn.compact
  def __call__(self, images):
    """Maps images [batch, rows, columns, 3] to logits [batch, classes]."""
    patch = (self.patch_size, self.patch_size)
    x = nn.Conv(self.width, patch, strides=patch, padding='VALID')(images)
    x = x.reshape(len(x), -1, self.width)
    zeros, normal = nn.initializers.zeros, nn.initializers.normal(0.02)
    token = self.param('class_token', zeros, (1, 1, self.width))
    x = jnp.concatenate([jnp.tile(token, [len(x), 1, 1]), x], axis=1)
    x += self.param('positions', normal, (1, *x.shape[1:]))
    for _ in range(self.depth):
      y = nn.LayerNorm()(x)
      x += nn.MultiHeadDotProductAttention(self.num_heads)(y, y)
      y = nn.Dense(self.mlp_dim)(nn.LayerNorm()(x))
      x += nn.Dense(self.width)(nn.gelu(y))
    return nn.Dense(self.num_classes)(nn.LayerNorm()(x)[:, 0])


def plain(case):
  """Returns the step of `PlainViT` with optax's Adam, and nothing around it."""
  names = PlainViT.__dataclass_fields__.keys() & case.keys()
  model = PlainViT(**{name: case[name] for name in names})
  images, labels = some_examples(case)
  images = jnp.asarray(images / np.float32(127.5) - 1)
  labels = jnp.asarray(labels)
  params = jax.jit(model.init)(jax.random.key(0), images)
  if not case['train']:
    return _engine(functools.partial(jax.jit(model.apply), params, images))
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=0.1)
  )

  def loss(params, images, labels):
    logits = model.apply(params, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses), jnp.mean(jnp.argmax(logits, -1) == labels)

  @functools.partial(jax.jit, donate_argnums=0)
  def step(state, images, labels):
    params, opt_state = state
    metrics, grads = jax.value_and_grad(loss, has_aux=True)(
      params, images, labels
    )
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), metrics

  state = (params, jax.jit(optimizer.init)(params))
  return _trainer(lambda state: step(state, images, labels), state)


def matmul(case):
  """Returns a product of square matrices, large enough for the device."""
  side = 2048 if jax.default_backend() == 'cpu' else 8192
  a, b = jax.random.normal(jax.random.key(0), (2, side, side), case['dtype'])
  return _engine(functools.partial(jax.jit(jnp.matmul), a, b), 2.0 * side**3)


def copy(case):
  """Returns a pass over memory that reads and writes each byte of an array."""
  del case
  size = 2**26 if jax.default_backend() == 'cpu' else 2**30
  x = jnp.ones(size // 4, jnp.float32)
  negate = jax.jit(jnp.negative, donate_argnums=0)
  return _trainer(lambda x: (negate(x), ()), x, 2.0 * size)


ENGINES = {'vit_jax': ours, 'plain': plain, 'matmul': matmul, 'copy': copy}


def some_examples(case):
  """Returns uint8 [batch, rows, columns, 3] and int32 [batch], at random."""
  draw = np.random.default_rng(0)
  rows, columns = case['image_size']
  size = case['batch_size']
  images = draw.integers(0, 256, (size, rows, columns, 3), np.uint8)
  return images, draw.integers(0, case['num_classes'], size, np.int32)


def _trainer(step, state, work=0.0):
  """Returns the engine of a step that takes a state and gives the next."""

  def run(num_steps):
    nonlocal state
    for _ in range(num_steps):
      state, metrics = step(state)
    jax.block_until_ready((state, metrics))

  return step_worker.Engine(run, _device(), _peak(), work)


def _engine(function, work=0.0):
  """Returns the engine of a function whose calls don't need each other."""

  def run(num_steps):
    for _ in range(num_steps):
      result = function()
    jax.block_until_ready(result)

  return step_worker.Engine(run, _device(), _peak(), work)


def _device():
  return jax.devices()[0].device_kind


def _peak():
  device = jax.devices()[0]
  if device.memory_stats() is None:
    return None
  return lambda: device.memory_stats()['peak_bytes_in_use']


def main():
  packages = 'jax', 'jaxlib', 'flax', 'optax'
  step_worker.serve(
    ENGINES, {name: importlib.metadata.version(name) for name in packages}
  )


if __name__ == '__main__':
  main()
