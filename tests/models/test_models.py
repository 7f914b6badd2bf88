"""Models by name: what there is, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import model_names, schema
from vit_jax.models import hybrid

TINY = {'width': 32, 'depth': 2, 'num_heads': 2, 'mlp_dim': 64}
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 64, 96, 3))
IMAGES = IMAGES.astype(np.float32)
NAMES = ('ViT-B/16', 'R26+ViT-S/32', 'BiT-R50x1')


def build(name, num_classes=5, **fields):
  model = schema.default().model
  model.update(name=name, **fields)
  return models.build(model, num_classes)


def build_tiny(name, num_classes=5, **fields):
  """Returns the model with two layers, two units, or two of each."""
  if name.startswith('BiT'):
    return build(name, num_classes, **fields).clone(units=(1, 1))
  module = build(name, num_classes, **TINY, **fields)
  if '+' in name:
    module = module.clone(stem=module.stem.clone(units=(1, 1)))
  return module


def shapes_of(module):
  init = functools.partial(module.init, train=False)
  return jax.eval_shape(init, jax.random.key(0), IMAGES)


def draw(module):
  """Returns parameters that are random where training starts at zero, too."""
  noise = np.random.default_rng(1)

  def fill(path, leaf):
    x = noise.standard_normal(leaf.shape, np.float32)
    if path.endswith('scale'):
      return 1 + 0.1 * x
    return x / np.sqrt(leaf.size / leaf.shape[-1]) if leaf.ndim > 1 else x / 10

  return pytrees.map_with_path(fill, shapes_of(module))


def run(module, params, images=IMAGES):
  apply = functools.partial(module.apply, train=False)
  return jax.jit(apply)(params, images)


@functools.cache
def example(name):
  """Returns a tiny model, its parameters and its output."""
  module = build_tiny(name)
  params = draw(module)
  return module, params, run(module, params)


@pytest.mark.parametrize(
  'name, num_tokens, width',
  [
    ('ViT-B/16', 1 + 4 * 6, 32),
    ('R26+ViT-S/32', 1 + 8 * 12, 32),
    ('BiT-R50x1', 8 * 12, 512),
  ],
)
def test_outputs_have_the_shapes_that_are_promised(name, num_tokens, width):
  _, _, output = example(name)
  assert output.tokens.shape == (2, num_tokens, width)
  assert output.pooled.shape == (2, width)
  assert output.logits.shape == (2, 5)


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_errs_no_more_than_rounded_parameters_do(name):
  # Random ResNets amplify any rounding; how much is seen in float32.
  module, params, full = example(name)
  half = run(build_tiny(name, dtype='bfloat16'), params)
  assert half.tokens.dtype == jnp.bfloat16
  assert half.logits.dtype == jnp.float32
  rounded = jax.tree.map(
    lambda leaf: jnp.bfloat16(leaf).astype(jnp.float32), params
  )
  unavoidable = np.linalg.norm(run(module, rounded).pooled - full.pooled)
  error = np.linalg.norm(half.pooled.astype(jnp.float32) - full.pooled)
  assert 0 < error < 3 * unavoidable


@pytest.mark.parametrize('name', NAMES)
def test_norms_divide_by_a_deviation_in_float32(name):
  module = build_tiny(name, dtype='bfloat16')
  program = jax.jit(functools.partial(module.apply, train=False)).lower(
    shapes_of(module), IMAGES
  )
  divisors = [
    line for line in program.as_text().splitlines() if 'rsqrt' in line
  ]
  assert len(divisors) > 4
  assert not [line for line in divisors if 'bf16' in line]


@pytest.mark.parametrize('name', NAMES)
def test_zero_classes_are_no_head(name):
  module = build_tiny(name, num_classes=0)
  assert 'head' not in shapes_of(module)['params']
  output = jax.eval_shape(
    functools.partial(module.apply, train=False), shapes_of(module), IMAGES
  )
  assert output.logits is None


@pytest.mark.parametrize('name', NAMES)
def test_the_bias_of_the_head_reaches_the_model(name):
  assert build(name, head_bias=-10.0).head_bias == -10


@pytest.mark.parametrize(
  'name, message',
  [
    ('ViT-B16', r"model\.name='ViT-B16' is unknown. Did you mean ViT-B/16"),
    ('ViT-B/0', r"model\.name='ViT-B/0' is unknown"),
    ('R50+ViT-L', r'is unknown. Did you mean .*R50\+ViT-L/'),
    ('BiT-R50', r'is unknown. Did you mean .*BiT-R50x1'),
    ('ViT-XXL/16', "The size in model.name='XXL' is unknown"),
    ('R50+ViT-Q/32', "The size in model.name='Q' is unknown"),
    ('R99+ViT-S/32', "The ResNet in model.name='R99/32' is unknown"),
    ('R26+ViT-S/16', "'R26/16' is unknown. Did you mean .*R26/32"),
    ('BiT-R34x1', "The ResNet in model.name='R34' is unknown"),
  ],
)
def test_unknown_models_are_refused_with_the_nearest(name, message):
  with pytest.raises(errors.UserError, match=message):
    build(name)


@pytest.mark.parametrize(
  'field, value',
  [
    ('width', 32),
    ('depth', 2),
    ('num_heads', 2),
    ('mlp_dim', 8),
    ('pooling', 'average'),
    ('head', 'pre_logits'),
    ('position_embedding', 'none'),
    ('position_placement', 'shared'),
    ('dropout', 0.1),
    ('drop_path', 0.1),
    ('gelu', 'erf'),
    ('norm_epsilon', 1e-12),
  ],
)
def test_a_resnet_refuses_what_it_does_not_have(field, value):
  with pytest.raises(errors.UserError, match=rf'model\.{field}={value} does'):
    build('BiT-R50x1', **{field: value})


@pytest.mark.parametrize('name', ['ViT-B/16', 'R26+ViT-S/32'])
@pytest.mark.parametrize(
  'fields, message',
  [
    ({'width': 30, 'num_heads': 4}, 'not a multiple of model.num_heads=4'),
    ({'width': 30, 'num_heads': 3}, 'is not a multiple of 4'),
  ],
)
def test_widths_that_do_not_divide_are_refused(name, fields, message):
  with pytest.raises(errors.UserError, match=message):
    build(name, **fields)


@pytest.mark.parametrize(
  'name, pixels',
  [
    ('ViT-B/16', 16),
    ('ViT-H/14', 14),
    ('R+ViT-Ti/16', 32),
    ('R26+ViT-S/32', 32),
    ('R50+ViT-B/16', 16),
    ('BiT-R50x1', None),
  ],
)
def test_patch_size_is_the_pixels_that_a_token_spans(name, pixels):
  assert model_names.patch_size(name) == pixels
  if pixels:
    side = 4 * pixels
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    module = build(name, depth=1)
    output, _ = jax.eval_shape(
      lambda rng, images: module.init_with_output(rng, images, train=False),
      jax.random.key(0),
      images,
    )
    assert output.tokens.shape[1] == 1 + 4 * 4


@pytest.mark.parametrize(
  'pooling, num_tokens',
  [('class_token', 7), ('average', 6), ('attention', 6)],
)
def test_each_pooling_reads_the_tokens_that_it_says(pooling, num_tokens):
  module = build('ViT-B/32', pooling=pooling, **TINY)
  params = draw(module)
  output = run(module, params)
  assert output.tokens.shape == (2, num_tokens, 32)
  expected = {
    'class_token': lambda: output.tokens[:, 0],
    'average': lambda: output.tokens.mean(1),
    'attention': lambda: module.apply(
      params,
      output.tokens,
      method=lambda module, tokens: module.pooling(tokens, train=False),
    ),
  }[pooling]()
  np.testing.assert_allclose(output.pooled, expected, atol=1e-5)
  assert ('class_token' in params['params']) == (pooling == 'class_token')


def test_a_tanh_layer_bounds_what_the_head_reads():
  module = build('ViT-B/32', head='pre_logits', **TINY)
  params = draw(module)
  output = run(module, params)
  hidden = params['params']['head_hidden']
  before = output.tokens[:, 0] @ hidden['kernel'] + hidden['bias'][None]
  np.testing.assert_allclose(output.pooled, np.tanh(before), atol=1e-5)


@pytest.mark.parametrize('name', ['ViT-B/16', 'R26+ViT-S/32'])
def test_fields_of_the_encoder_reach_it_and_its_layers(name):
  both = {'dropout': 0.1, 'norm_epsilon': 1e-12}
  only_encoder = {
    'drop_path': 0.2,
    'position_embedding': 'learned_2d',
    'position_placement': 'shared',
  }
  only_layers = {'gelu': 'erf', 'attention': 'xla'}
  layers = build(name, **TINY, **both, **only_encoder, **only_layers).encoder
  for module, fields in (
    (layers, {**both, **only_encoder, 'depth': 2}),
    (layers.block, {**both, **only_layers, 'num_heads': 2, 'mlp_dim': 64}),
  ):
    assert {field: getattr(module, field) for field in fields} == fields


@pytest.mark.parametrize('name', NAMES)
def test_an_image_is_judged_by_itself(name):
  module, params, both = example(name)
  alone = run(module, params, IMAGES[1:])
  np.testing.assert_allclose(alone.logits[0], both.logits[1], atol=1e-4)


def test_a_fresh_unit_of_a_hybrid_passes_its_input_on(rng):
  x = jax.random.normal(rng, (1, 4, 4, 128))
  out, _ = hybrid.Unit(features=32, stride=1).init_with_output(rng, x)
  np.testing.assert_array_equal(out, jax.nn.relu(x))


def test_paths_of_a_hybrid_are_the_ones_that_tables_rely_on():
  paths = pytrees.flatten(shapes_of(build('R26+ViT-S/32'))['params'])
  unit = 'stem/block_2/unit_1'
  assert {
    'stem/root_conv/kernel',
    'stem/root_norm/scale',
    f'{unit}/conv_3/kernel',
    f'{unit}/norm_3/bias',
    f'{unit}/projection_conv/kernel',
    f'{unit}/projection_norm/scale',
    'stem/embedding/kernel',
    'stem/embedding/bias',
  } <= set(paths)
  assert paths['stem/root_norm/scale'].shape == (64,)


def test_paths_of_a_resnet_are_the_ones_that_tables_rely_on():
  paths = pytrees.flatten(shapes_of(build('BiT-R50x1'))['params'])
  unit = 'block_4/unit_1'
  assert {
    'root_conv/kernel',
    f'{unit}/conv_1/kernel',
    f'{unit}/norm_1/scale',
    f'{unit}/projection_conv/kernel',
    'norm/bias',
    'head/kernel',
    'head/bias',
  } <= set(paths)


def test_every_field_is_of_some_family_and_every_family_has_real_fields():
  fields = {
    field for family in models.FAMILIES.values() for field in family.fields
  }
  assert fields == set(schema.default().model)


def test_shapes_take_no_memory():
  """An image of these sides would have 48 terabytes."""
  module = build('ViT-Ti/16', **TINY, position_embedding='none')
  shapes = models.params_of(module, (2_000_000, 2_000_000))
  assert shapes['head']['kernel'].shape == (32, 5)


def test_models_are_found_by_pattern():
  assert models.names() == list(models.NAMES)
  assert set(models.names('ViT-*/16')) == {
    'ViT-Ti/16',
    'ViT-S/16',
    'ViT-B/16',
    'ViT-L/16',
  }
  with pytest.raises(
    errors.UserError, match=r"No model matches 'B/16'.*\*B/16"
  ):
    models.names('B/16')


def test_the_table_of_models_says_what_their_sizes_are():
  by_name = {row['name']: row for row in models.table('*L/*')}
  assert by_name['ViT-L/16'] == {
    'name': 'ViT-L/16',
    'family': 'ViT',
    'parameters': 304_326_632,
    'patch': 16,
    'width': 1024,
    'depth': 24,
    'heads': 16,
  }
  assert by_name['R50+ViT-L/32']['patch'] == 32
  assert by_name['Mixer-L/16']['heads'] is None


def test_each_family_says_which_further_names_it_has():
  told = models.variations()
  assert len(told) == len(models.FAMILIES)
  for name in 'ViT-So400m/14', 'ViT-gopt/16', 'BiT-R8x2', 'R5+ViT-S/4':
    key = models.family_name(name)
    (line,) = [line for line in told if line.startswith(f'{key}: ')]
    assert model_names.parse(name).size in line
