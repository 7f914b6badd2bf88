"""Layers in a loop are the layers, and to compute twice changes nothing."""

import collections
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import pytrees
from vit_jax.nn import encoder, flop_count, layer_stack

SHAPE, GRID, DEPTH = (2, 7, 8), (2, 3), 3
KINDS = [  # As validated; the first is that of the paper.
  ('learned_1d', 'stem'),
  ('learned_1d', 'every_layer'),
  ('relative', 'every_layer'),
  ('relative', 'shared'),
  ('none', 'shared'),
]

POLICIES = tuple(name for name in layer_stack.REMAT if name != 'none')


def build(
  scan=False,
  remat='none',
  block=(),
  dropout=0.0,
  dtype=jnp.float32,
  **fields,
):
  shared = {'dropout': dropout, 'dtype': dtype}
  block = {'num_heads': 2, 'mlp_dim': 16, **shared, **dict(block)}
  return encoder.Encoder(
    block=encoder.Block(**block),
    depth=DEPTH,
    stack=layer_stack.LayerStack(scan=scan, remat=remat),
    **shared,
    **fields,
  )


def init(module, x):
  return module.init(jax.random.key(0), x, GRID, train=False)['params']


def draw(module, x):
  """Returns parameters of about 0.4, of which none is zero."""
  noise = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: np.float32(0.4 * noise.standard_normal(leaf.shape)),
    jax.eval_shape(functools.partial(init, module), x),
  )


def make_apply(module, **options):
  """Returns the compiled function from (parameters, x) to the output."""
  return jax.jit(
    lambda params, x: module.apply({'params': params}, x, GRID, **options)
  )


def assert_same(tree, other):
  flat, other = pytrees.flatten(tree), pytrees.flatten(other)
  assert flat.keys() == other.keys()
  for path in flat:
    np.testing.assert_array_equal(flat[path], other[path], err_msg=path)


@pytest.fixture
def x(rng):
  return jax.random.normal(rng, SHAPE)


@pytest.mark.parametrize('kind, placement', KINDS)
def test_a_loop_computes_what_its_layers_do(x, kind, placement):
  where = {'position_embedding': kind, 'position_placement': placement}
  single, loop = build(**where), build(scan=True, **where)
  params = draw(single, x)
  wanted = make_apply(single, train=False)(params, x)
  given = make_apply(loop, train=False)(pytrees.stack(params), x)
  np.testing.assert_allclose(given, wanted, atol=1e-5)


@pytest.mark.parametrize('kind, placement', KINDS[:2])
def test_a_loop_starts_with_the_parameters_of_its_layers(x, kind, placement):
  where = {'position_embedding': kind, 'position_placement': placement}
  single, stacked = (
    jax.jit(functools.partial(init, build(scan=scan, **where)))(x)
    for scan in (False, True)
  )
  assert stacked['blocks']['mlp']['hidden']['kernel'].shape == (DEPTH, 8, 16)
  assert_same(pytrees.stack(single), stacked)


def test_stochastic_depth_rises_in_a_loop_too(x, rng):
  # Of three layers, the last is always skipped, and the first never.
  fields = {'drop_path': 1 - 1e-7}
  single, loop = build(**fields), build(scan=True, **fields)
  params = draw(single, x)
  without = {
    **params,
    'block_1': jax.tree.map(jnp.zeros_like, params['block_1']),
  }
  train = {'train': True, 'rngs': {'dropout': rng}}
  apply = make_apply(loop, **train)
  wanted = make_apply(single, **train)(without, x)
  given = apply(pytrees.stack(without), x)
  np.testing.assert_allclose(given, wanted, atol=1e-5)
  changed = {**without, 'block_2': params['block_1']}
  given = apply(pytrees.stack(changed), x)
  np.testing.assert_allclose(given, wanted, atol=1e-5)
  changed = {**without, 'block_0': params['block_1']}
  given = apply(pytrees.stack(changed), x)
  assert np.abs(given - wanted).max() > 0.1


def test_every_layer_of_a_loop_has_its_own_dropout(rng):
  class Noise(nn.Module):
    @nn.compact
    def __call__(self, x):
      return x + nn.Dropout(0.5, deterministic=False)(jnp.ones_like(x))

  class Stack(nn.Module):
    @nn.compact
    def __call__(self, x):
      stack = layer_stack.LayerStack(scan=True)
      each = [None] * 8
      x, _ = stack.run(self, Noise, lambda block, x, _: block(x), x, each)
      return x

  out = Stack().apply({}, jnp.zeros((1, 200)), rngs={'dropout': rng})
  assert len(np.unique(out)) > 5  # With one mask for all: 0 and 16.


@pytest.mark.parametrize('scan', [False, True])
@pytest.mark.parametrize('remat', ['none', 'full'])
def test_what_comes_into_each_layer_and_out_of_the_last_is_kept(scan, remat):
  class Double(nn.Module):
    @nn.compact
    def __call__(self, x):
      return 2 * x

  class Stack(nn.Module):
    @nn.compact
    def __call__(self, x):
      stack = layer_stack.LayerStack(
        scan=scan, remat=remat, constrain=lambda x: x + 1
      )
      each = [None] * 3
      x, _ = stack.run(self, Double, lambda block, x, _: block(x), x, each)
      return x

  out = Stack().apply({}, jnp.zeros((1, 2)))
  np.testing.assert_array_equal(out, ((1 * 2 + 1) * 2 + 1) * 2 + 1)


def test_what_layers_sow_is_stacked_and_can_be_parted(x):
  loop, single = build(scan=True), build()
  params = draw(single, x)
  options = {'train': False, 'mutable': ['intermediates']}
  _, wanted = make_apply(single, **options)(params, x)
  _, given = make_apply(loop, **options)(pytrees.stack(params), x)
  given = pytrees.flatten(pytrees.unstack(given))
  wanted = pytrees.flatten(wanted)
  assert given.keys() == wanted.keys() and len(wanted) == DEPTH
  for path in wanted:
    np.testing.assert_allclose(given[path], wanted[path], atol=1e-6)


# Computing twice -------------------------------------------------------------


def gradients(scan, remat):
  """Returns the compiled function from (parameters, x) to gradients."""
  module = build(scan, remat)
  apply = make_apply(module, train=False)

  def loss(params, x):
    return jnp.sum(apply(params, x) ** 2)

  x = jax.ShapeDtypeStruct((16, *SHAPE[1:]), jnp.float32)
  params = jax.eval_shape(functools.partial(init, module), x)
  return jax.jit(jax.grad(loss)).lower(params, x).compile()


@pytest.fixture(scope='module')
def compiled():
  return {remat: gradients(True, remat) for remat in layer_stack.REMAT}


@pytest.mark.parametrize('remat', POLICIES)
def test_to_compute_twice_changes_no_gradient(compiled, remat, rng):
  x = jax.random.normal(rng, (16, *SHAPE[1:]))
  params = draw(build(scan=True), x)
  wanted = pytrees.flatten(compiled['none'](params, x))
  for path, given in pytrees.flatten(compiled[remat](params, x)).items():
    np.testing.assert_allclose(
      given, wanted[path], rtol=1e-4, atol=1e-4, err_msg=path
    )


def test_the_less_is_kept_the_less_memory_it_takes(compiled):
  num_bytes = {
    remat: program.memory_analysis().temp_size_in_bytes
    for remat, program in compiled.items()
  }
  sizes = [num_bytes[remat] for remat in layer_stack.REMAT]
  assert sizes == sorted(set(sizes), reverse=True)


@pytest.mark.parametrize('remat', POLICIES)
def test_without_a_loop_the_layers_are_computed_twice_as_well(remat):
  # XLA undoes it on CPUs, so that memory does not tell.
  module = build(remat=remat)
  x = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
  params = jax.eval_shape(functools.partial(init, module), x)
  apply = make_apply(module, train=False)

  def loss(params, x):
    return apply(params, x).sum()

  text = str(jax.make_jaxpr(jax.grad(loss))(params, x))
  assert text.count('prevent_cse=True') == DEPTH


@pytest.mark.parametrize('scan', [False, True])
def test_attention_s_own_products_are_computed_twice_or_nearly_all(scan):
  x = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
  batch, tokens, width = SHAPE

  def flops(remat):
    module = build(scan, remat)
    params = jax.eval_shape(functools.partial(init, module), x)
    apply = make_apply(module, train=False)
    return flop_count.forward_flops(
      jax.grad(lambda params, x: apply(params, x).sum()), params, x
    )

  once = flops('none')
  assert flops('elementwise') == once
  attention = DEPTH * 2 * batch * tokens * (2 * tokens * width)
  assert flops('dots') - once == attention
  # Four projections, the first half of the MLP; nobody asks for the second.
  dense = DEPTH * 2 * batch * tokens * (4 * width**2 + width * 16)
  assert flops('full') - once == attention + dense


def loops(remat, **fields):
  """Returns the loops of a gradient in training: forward, backward."""
  module = build(True, remat, **fields)
  x = jax.ShapeDtypeStruct(SHAPE, fields.get('dtype', jnp.float32))
  params = jax.eval_shape(functools.partial(init, module), x)

  def loss(params, x):
    rngs = {'dropout': jax.random.key(0)}
    out = module.apply({'params': params}, x, GRID, train=True, rngs=rngs)
    return out.sum()

  jaxpr = jax.make_jaxpr(jax.grad(loss))(params, x)
  return [e for e in jaxpr.eqns if e.primitive.name == 'scan']


def kept(forward):
  """Returns {dtype: the numbers of values that a layer keeps, sorted}."""
  sizes = collections.defaultdict(list)
  for variable in forward.outvars[forward.params['num_carry'] :]:
    sizes[str(variable.aval.dtype)].append(variable.aval.size // DEPTH)
  return {dtype: sorted(sizes[dtype]) for dtype in sizes}


def test_what_is_elementwise_is_not_kept():
  batch, tokens, width = SHAPE
  forward, _ = loops('elementwise')
  sizes = [
    *4 * [batch * tokens],  # Sums of two LayerNorms.
    *6 * [batch * tokens * width],  # Input; q, k, v; heads; projected heads.
    batch * 2 * tokens**2,  # Weights of two heads.
    batch * tokens * 16,  # The hidden layer.
  ]
  assert kept(forward) == {'float32': sorted(sizes)}


def test_masks_of_dropout_are_drawn_once():
  batch, tokens, width = SHAPE
  forward, backward = loops('elementwise', dropout=0.5)
  masks = [*2 * [batch * tokens * width], batch * tokens * 16]
  assert kept(forward)['bool'] == masks
  assert 'random_bits' in str(forward.params['jaxpr'])
  assert 'random_bits' not in str(backward.params['jaxpr'])


def test_the_fused_kernel_runs_once(jax_finds_cudnn):
  forward, backward = loops(
    'elementwise',
    block={'num_heads': 1, 'attention': 'cudnn'},
    dtype=jnp.bfloat16,
  )
  assert 'attention_fwd' in str(forward.params['jaxpr'])
  assert 'attention_fwd' not in str(backward.params['jaxpr'])
  assert 'attention_bwd' in str(backward.params['jaxpr'])
