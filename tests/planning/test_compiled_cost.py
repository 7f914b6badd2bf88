"""What XLA says of a program is taken for what it is."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax.planning import compiled_cost

SIDE = 64
ARRAY = 4 * SIDE**2  # Bytes.


@pytest.fixture(scope='module')
def step():
  """A program whose first argument becomes its first result."""

  def step(state, batch):
    hidden = jnp.tanh(state @ batch)
    return state - hidden @ batch.T, hidden[0]

  square = jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32)
  return jax.jit(step, donate_argnums=0).lower(square, square).compile()


def test_bytes_are_counted_once(step):
  memory = compiled_cost.memory(step)
  assert memory.arguments == 2 * ARRAY
  assert memory.results < 4 * SIDE + 100  # The state lies in its old place.
  assert ARRAY <= memory.temporaries < 5 * ARRAY


def test_nothing_that_xla_tells_is_left_out():  # On CPUs, programs take none.
  stats = types.SimpleNamespace(
    argument_size_in_bytes=1000,
    output_size_in_bytes=300,
    alias_size_in_bytes=200,
    temp_size_in_bytes=20,
    generated_code_size_in_bytes=3,
  )
  compiled = types.SimpleNamespace(memory_analysis=lambda: stats)
  memory = compiled_cost.memory(compiled)
  assert memory == compiled_cost.Memory(1000, 100, 20, 3)
  assert memory.total == 1123


def test_flops_are_those_of_its_two_products(step):
  figures = compiled_cost.figures(step)
  assert figures['flops'] == pytest.approx(2 * 2 * SIDE**3, rel=0.02)
  assert figures['bytes_accessed'] > 4 * ARRAY
  assert figures['temporary_bytes'] == compiled_cost.memory(step).temporaries
  assert figures['collectives'] == figures['collective_bytes'] == 0


def test_collectives_are_counted_one_by_one():
  mesh = jax.make_mesh(
    (4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  split, whole = (
    NamedSharding(mesh, PartitionSpec(*axes)) for axes in (('data',), ())
  )

  def sums(x):  # The second one needs the first.
    total = x.sum(0, keepdims=True)
    return jnp.exp(x - total).sum(0)

  x = jax.ShapeDtypeStruct((8, SIDE), jnp.float32, sharding=split)
  program = jax.jit(sums, out_shardings=whole).lower(x).compile()
  figures = compiled_cost.figures(program)
  assert figures['collectives'] == 2
  assert figures['collective_bytes'] == 2 * 2 * 4 * SIDE * 3 / 4
