"""Every kind of position embedding tells tokens apart, and in its own way."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import pytrees
from vit_jax.nn import encoder, position_embedding

BATCH, WIDTH, HEADS, DEPTH = 2, 8, 2, 2
KINDS = tuple(position_embedding.POSITION_EMBEDDINGS)
# All that validation.validate admits.
COMBINATIONS = [
  (kind, placement)
  for kind in KINDS
  for placement in ('stem', 'every_layer', 'shared')
  if (kind, placement) != ('relative', 'stem')
]


def build(kind, placement):
  return encoder.Encoder(
    block=encoder.Block(num_heads=HEADS, mlp_dim=2 * WIDTH),
    depth=DEPTH,
    position_embedding=kind,
    position_placement=placement,
  )


def draw(module, x, grid):
  """Returns parameters of about 0.4, positions of about one."""
  shapes = jax.eval_shape(
    lambda rng: module.init(rng, x, grid, train=False), jax.random.key(0)
  )
  noise = np.random.default_rng(1)

  def fill(path, leaf):
    scale = 1 if 'position' in path else 0.4
    return np.float32(scale * noise.standard_normal(leaf.shape))

  return pytrees.map_with_path(fill, shapes)


def located(kind, tokens, grid):
  """Returns tokens with positions added, and the parameters."""
  layer = position_embedding.POSITION_EMBEDDINGS[kind]()
  params = layer.init(jax.random.key(0), tokens, grid)
  (out, _) = layer.apply(params, tokens, grid)
  return np.asarray(out), params.get('params', {})


@pytest.mark.parametrize('kind, placement', COMBINATIONS)
def test_order_counts_unless_there_is_no_position(kind, placement, rng):
  x = jax.random.normal(rng, (BATCH, 6, WIDTH))
  module = build(kind, placement)
  params = draw(module, x, (2, 3))
  order = jnp.array([4, 2, 0, 5, 1, 3])
  out = module.apply(params, x, (2, 3), train=False)
  permuted = module.apply(params, x[:, order], (2, 3), train=False)
  change = np.abs(permuted - out[:, order]).max()
  if kind == 'none':
    assert change < 1e-4
  else:
    assert change > 1e-2


@pytest.mark.parametrize('num_prefix_tokens', [0, 1, 2])
@pytest.mark.parametrize('kind, placement', COMBINATIONS)
def test_any_grid_fits_after_any_prefix(kind, placement, num_prefix_tokens):
  x = jnp.ones((BATCH, num_prefix_tokens + 3 * 5, WIDTH))
  module = build(kind, placement)
  out, _ = jax.eval_shape(
    lambda rng: module.init_with_output(rng, x, (3, 5), train=False),
    jax.random.key(0),
  )
  assert out.shape == x.shape


@pytest.mark.parametrize('kind', [kind for kind in KINDS if 'learned' in kind])
def test_placements_differ_in_what_they_share(kind):
  x = jnp.ones((BATCH, 6, WIDTH))

  def layers(placement):
    params = draw(build(kind, placement), x, (2, 3))['params']
    return {path for path in params if path.startswith('position')}

  assert layers('stem') == {'position_embedding'}
  assert layers('shared') == {'position_embedding'}
  assert layers('every_layer') == {
    f'position_embedding_{layer}' for layer in range(DEPTH)
  }


@pytest.mark.parametrize('kind', ['learned_1d', 'learned_2d', 'sincos_2d'])
def test_shared_positions_are_added_in_every_layer(kind, rng):
  x = jax.random.normal(rng, (BATCH, 6, WIDTH))
  params = draw(build(kind, 'shared'), x, (2, 3))
  once, always = (
    build(kind, placement).apply(params, x, (2, 3), train=False)
    for placement in ('stem', 'shared')
  )
  assert np.abs(once - always).max() > 1e-2


def test_relative_keys_that_are_shared_act_as_equal_keys_in_every_layer(rng):
  x = jax.random.normal(rng, (BATCH, 6, WIDTH))
  params = draw(build('relative', 'shared'), x, (2, 3))['params']
  shared = build('relative', 'shared').apply(
    {'params': params}, x, (2, 3), train=False
  )
  keys = params.pop('position_embedding')
  params |= {f'position_embedding_{layer}': keys for layer in range(DEPTH)}
  each = build('relative', 'every_layer').apply(
    {'params': params}, x, (2, 3), train=False
  )
  np.testing.assert_array_equal(shared, each)


def test_learned_2d_has_one_half_per_column_and_one_per_row():
  added, params = located('learned_2d', jnp.zeros((1, 1 + 6, WIDTH)), (2, 3))
  assert params['columns'].shape == (3, WIDTH // 2)
  assert params['rows'].shape == (2, WIDTH // 2)
  grid = added[0, 1:].reshape(2, 3, WIDTH)
  for row, column in np.ndindex(2, 3):
    np.testing.assert_array_equal(
      grid[row, column], [*params['columns'][column], *params['rows'][row]]
    )


def test_sincos_2d_is_what_its_formula_says():
  added, params = located('sincos_2d', jnp.zeros((1, 6, WIDTH)), (2, 3))
  assert not params
  grid = added[0].reshape(2, 3, WIDTH)
  for row, column in np.ndindex(2, 3):
    angles = [(column, 1), (column, 1e-4), (row, 1), (row, 1e-4)]
    x0, x1, y0, y1 = (position * frequency for position, frequency in angles)
    expected = [
      *(math.sin(x0), math.sin(x1), math.cos(x0), math.cos(x1)),
      *(math.sin(y0), math.sin(y1), math.cos(y0), math.cos(y1)),
    ]
    np.testing.assert_allclose(grid[row, column], expected, atol=1e-6)


@pytest.mark.parametrize('kind', ['learned_2d', 'sincos_2d'])
def test_two_dimensions_leave_the_class_token_alone(kind):
  added, _ = located(kind, jnp.zeros((1, 2 + 6, WIDTH)), (2, 3))
  assert not added[0, :2].any()
  assert added[0, 2:].any()


def test_learned_1d_has_a_vector_for_every_token():
  added, params = located('learned_1d', jnp.zeros((1, 7, WIDTH)), (2, 3))
  np.testing.assert_array_equal(added, params['embedding'])
  assert len(np.unique(added[0, :, 0])) == 7
