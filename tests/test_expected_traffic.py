"""What must be sent is what one counts by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from benchmarks import expected_traffic
from vit_jax import pytrees

AXES = ('data', 'fsdp', 'tensor')


def params(sizes, **specs):
  """Returns arrays of 100 numbers, laid out as told, by path."""
  mesh = AbstractMesh(sizes, AXES)
  return pytrees.unflatten(
    {
      path.replace('__', '/'): jax.ShapeDtypeStruct(
        (10, 10),
        jnp.float32,
        sharding=NamedSharding(mesh, PartitionSpec(*axes)),
      )
      for path, axes in specs.items()
    }
  )


def test_data_parallelism_sums_every_gradient_once():
  tree = params((8, 1, 1), head__kernel=(), head__bias=())
  sent = expected_traffic.of_parameters(tree)
  assert sent == {'all-reduce': 2 * 2 * 400 * 7 / 8}


def test_fsdp_gathers_parameters_and_scatters_sums():
  tree = params((1, 4, 1), head__kernel=('fsdp',), head__bias=())
  assert expected_traffic.of_parameters(tree) == {
    'all-gather': 400 * 3 / 4,
    'reduce-scatter': 400 * 3 / 4,
    'all-reduce': 2 * 400 * 3 / 4,  # Of the bias, which is whole.
  }


def test_shards_are_summed_over_data():
  tree = params((2, 4, 1), head__kernel=('fsdp',))
  sent = expected_traffic.of_parameters(tree)
  assert sent['all-reduce'] == 2 * (400 / 4) * 1 / 2


def test_tensor_parallelism_leaves_a_part_to_send():
  tree = params((1, 4, 2), head__kernel=('fsdp', 'tensor'))
  sent = expected_traffic.of_parameters(tree)
  assert sent == {'all-gather': 200 * 3 / 4, 'reduce-scatter': 200 * 3 / 4}


def test_only_layers_are_gathered_twice_and_numbers_may_be_short():
  tree = params(
    (1, 4, 1),
    encoder__blocks__mlp__kernel=('fsdp',),
    head__kernel=('fsdp',),
  )
  sent = expected_traffic.of_parameters(tree, itemsize=2, layer_gathers=2)
  assert sent['all-gather'] == (2 + 1) * 200 * 3 / 4
  assert sent['reduce-scatter'] == 2 * 200 * 3 / 4


@pytest.mark.parametrize('itemsize', [2, 4])
def test_every_layer_sums_its_own_tokens_over_tensor(itemsize):
  mesh = {'data': 2, 'fsdp': 2, 'tensor': 4}
  sent = expected_traffic.of_tensor_parallelism((8, 5, 6), 3, mesh, itemsize)
  sums = 3 * 4  # Of each layer: two forward, two backward.
  assert sent == sums * 2 * (8 // 4 * 5 * 6) * itemsize * 3 / 4
