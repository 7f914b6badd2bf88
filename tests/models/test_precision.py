"""bfloat16 computes; float32 keeps parameters, sums, softmax and logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import models
from vit_jax.config import schema
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import assembly

HALF, FULL = jnp.dtype('bfloat16'), jnp.dtype('float32')
NAMES = ['ViT-Ti/4', 'R5+ViT-Ti/4', 'Mixer-S/4', 'BiT-R8x1']


def tiny_config(name, dtype, **fields):
  config = schema.default()
  config.model.update(name=name, dtype=dtype)
  if 'BiT' not in name:
    config.model.update(width=32, depth=2, mlp_dim=64)
  if 'ViT' in name:
    config.model.update(num_heads=4, **fields)
  config.data.resolution = (16, 16)
  config.optimizer.learning_rate = 1e-3
  config.optimizer.warmup_steps = 0
  return config


def equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    for value in equation.params.values():
      for body in value if isinstance(value, (tuple, list)) else [value]:
        body = getattr(body, 'jaxpr', body)
        if hasattr(body, 'eqns'):
          yield from equations(body)


def traced(name):
  """Returns the operations of a forward pass, and of that and a backward."""
  model = models.build(tiny_config(name, 'bfloat16').model, 5)
  images = jnp.zeros((2, 16, 16, 3))

  def loss(params):
    output = model.apply({'params': params}, images, train=False)
    assert output.logits.dtype == FULL
    return output.logits.sum()

  params = jax.eval_shape(
    lambda: model.init(jax.random.key(0), images, train=False)['params']
  )
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {FULL}
  forward = jax.make_jaxpr(loss)(params)
  both = jax.make_jaxpr(jax.grad(loss))(params)
  assert {aval.dtype for aval in both.out_avals} == {FULL}
  return list(equations(forward.jaxpr)), list(equations(both.jaxpr))


def dtypes(operations, primitive):
  return [
    tuple(variable.aval.dtype for variable in operation.invars)
    for operation in operations
    if operation.primitive.name == primitive
  ]


@pytest.mark.parametrize('name', NAMES)
def test_sums_are_of_float32_and_products_of_bfloat16(name):
  forward, both = traced(name)
  # Statistics of norms, the softmax and the average over tokens.
  sums = dtypes(forward, 'reduce_sum')
  assert len(sums) > 5 and set(sums) == {(FULL,)}
  for primitive in 'exp', 'rsqrt', 'log', 'reduce_max':
    for kind in dtypes(both, primitive):
      assert kind == (FULL,), primitive
  products = dtypes(both, 'dot_general')
  products += dtypes(both, 'conv_general_dilated')
  of_head = [kind for kind in products if kind == (FULL, FULL)]
  assert len(of_head) == 3  # Logits, and the gradients of both factors.
  assert all(kind == (HALF, HALF) for kind in products if kind not in of_head)


def steps(dtype):
  """Returns the losses of 20 steps, the state after them, and the batch."""
  config = tiny_config('ViT-Ti/4', dtype)
  components = assembly.build(
    config, 5, meshes.build(config.mesh, jax.devices()[:1]), 20
  )
  draw = np.random.default_rng(0)
  label = draw.integers(0, 5, 32, np.int32)
  image = draw.integers(0, 128, (32, 16, 16, 3), np.uint8)
  image += np.uint8(20 * label)[:, None, None, None]  # To be learned.
  batch = placement.to_devices(
    {
      'image': image,
      'label': label,
      'mask': np.ones(32, bool),
      'index': np.arange(32),
    },
    components.mesh,
  )
  state, step, losses = components.init(0), components.train_step(), []
  for _ in range(20):
    state, means = step(state, batch)
    losses.append(means['loss'].compute())
  return np.array(losses), components, state, batch


def test_bfloat16_learns_and_predicts_the_same():
  half_losses, half_components, _, _ = steps('bfloat16')
  losses, components, state, batch = steps('float32')
  assert losses[-1] < 0.9 * losses[0]
  np.testing.assert_allclose(half_losses, losses, rtol=5e-3)
  half, full = (
    np.asarray(each.predict()(state.params, batch))
    for each in (half_components, components)
  )
  cosines = np.sum(half * full, -1) / (
    np.linalg.norm(half, axis=-1) * np.linalg.norm(full, axis=-1)
  )
  assert cosines.min() >= 0.9999
