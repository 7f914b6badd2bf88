"""Operations are counted as the papers count them."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.models import vit
from vit_jax.nn import flop_count
from vit_jax.planning import compute_cost

PIXELS = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)


@functools.cache
def build(name, num_classes=1000, **fields):
  """Returns the module and its abstract parameters."""
  model = schema.default().model
  model.update(name=name, **fields)
  module = models.build(model, num_classes)
  params = jax.eval_shape(
    lambda rng, images: module.init(rng, images, train=False),
    jax.random.key(0),
    PIXELS,
  )
  return module, params


def gmacs(name):
  module, params = build(name)

  def logits(params, images):
    return module.apply(params, images, train=False).logits

  return flop_count.forward_flops(logits, params, PIXELS) / 2e9


def gmacs_around_products(name):
  """Returns what a popular profiler adds: norms, standardised kernels.

  It charges 5 operations for an element that a norm with scale and bias puts
  out, 4 without, such as an element of a standardised kernel.
  """
  module, params = build(name)

  def norms(params, images):
    _, state = module.apply(
      params,
      images,
      train=False,
      capture_intermediates=lambda module, _: isinstance(
        module, nn.LayerNorm | nn.GroupNorm
      ),
    )
    return state['intermediates']

  outputs = pytrees.flatten(jax.eval_shape(norms, params, PIXELS))
  normed = sum(leaf.size for path, leaf in outputs.items() if '_call_' in path)
  standardised = sum(
    leaf.size
    for path, leaf in pytrees.flatten(params).items()
    if re.search(r'conv(_\d)?/kernel', path)
  )
  return (5 * normed + 4 * standardised) / 1e9


@pytest.mark.parametrize(
  'name, num_classes',
  [
    *((name, 1000) for name in vit.NAMES),
    ('ViT-Ti/16', 0),
    ('ViT-B/32', 21_843),
  ],
)
def test_vits_cost_what_the_closed_formula_says(name, num_classes):
  size_name, patch = re.fullmatch(r'ViT-(\w+)/(\d+)', name).groups()
  size, patch = vit.SIZES[size_name], int(patch)
  patches = (224 // patch) ** 2
  tokens, width = patches + 1, size.width
  multiply_adds = (
    patches * patch**2 * 3 * width
    + size.depth
    * (
      tokens * (4 * width**2 + 2 * width * size.mlp_dim) + 2 * tokens**2 * width
    )
    + width * num_classes
  )
  module, params = build(name, num_classes)

  def logits(params, images):
    output = module.apply(params, images, train=False)
    return output.logits if num_classes else output.pooled

  flops = flop_count.forward_flops(logits, params, PIXELS)
  assert flops == 2 * multiply_adds
  if (name, num_classes) == ('ViT-B/16', 1000):
    assert flop_count.training_flops(logits, params, PIXELS) == 3 * flops
    assert round(flops / 1e9, 2) == 35.13


@pytest.mark.parametrize(
  'name, listed',  # GMACs at 224 pixels, as timm's tables list them.
  [
    ('ViT-Ti/16', 1.26),
    ('ViT-S/16', 4.61),
    ('ViT-B/32', 4.41),
    ('ViT-B/16', 17.58),
    ('ViT-B/8', 78.22),
    ('ViT-L/32', 15.39),
    ('ViT-L/16', 61.60),
    ('ViT-H/14', 167.40),
    ('R+ViT-Ti/16', 0.44),
    ('R26+ViT-S/32', 3.56),
    ('R50+ViT-B/16', 21.66),
    ('R50+ViT-L/32', 19.58),
  ],
)
def test_listed_gmacs_are_ours_plus_those_of_norms(name, listed):
  assert gmacs(name) + gmacs_around_products(name) == pytest.approx(
    listed, abs=0.0051
  )


# ViT paper, table 6: model, epochs, the whole exaFLOPs that are printed, and
# by how much of them ours are farther away than rounding can explain. All
# ResNets and hybrids but one are within 1 %. B/32 would be right at 55 only
# without class token, and for R50+ViT-L/16 the table contradicts itself: its
# 7 epochs are printed as 859, more than half of the 1668 of 14 epochs.
TABLE_6 = [
  ('ViT-B/16', 7, 224, 0.001),
  ('ViT-L/32', 7, 196, 0.001),
  ('ViT-L/16', 7, 783, 0.001),
  ('ViT-L/16', 14, 1567, 0.001),
  ('ViT-H/14', 14, 4262, 0.001),
  ('ViT-B/32', 7, 55, 0.025),
  ('BiT-R50x1', 7, 50, 0.01),
  ('BiT-R50x2', 7, 199, 0.01),
  ('BiT-R101x1', 7, 96, 0.01),
  ('BiT-R152x1', 7, 141, 0.01),
  ('BiT-R152x2', 7, 563, 0.01),
  ('BiT-R152x2', 14, 1126, 0.01),
  ('BiT-R200x3', 14, 3306, 0.01),
  ('R50+ViT-B/32', 7, 106, 0.01),
  ('R50+ViT-B/16', 7, 274, 0.01),
  ('R50+ViT-L/32', 7, 246, 0.01),
  ('R50+ViT-L/16', 14, 1668, 0.01),
]


@functools.cache
def exaflops_of_an_epoch(name):
  return compute_cost.exaflops(name, compute_cost.JFT_IMAGES, num_epochs=1)


@pytest.mark.parametrize('name, num_epochs, printed, tolerance', TABLE_6)
def test_exaflops_are_those_of_table_6(name, num_epochs, printed, tolerance):
  ours = exaflops_of_an_epoch(name) * num_epochs
  # The paper prints whole exaFLOPs: B/16 costs 223.7, which it prints as 224.
  beyond_rounding = max(0, abs(ours - printed) - 0.5)
  assert beyond_rounding <= tolerance * printed


def test_exaflops_count_the_head_and_grow_with_images_and_epochs():
  small = compute_cost.exaflops('ViT-Ti/16', 1e6, 1, num_classes=1)
  large = compute_cost.exaflops('ViT-Ti/16', 2e6, 3)
  head = 6 * 192 * (compute_cost.JFT_CLASSES - 1) * 1e6 / 1e18
  assert large == pytest.approx(6 * (small + head), rel=1e-12)


def test_a_gradient_costs_two_forward_passes():
  # By all factors, with the pixels; without the zeros that the gradient of a
  # convolution by stride puts between pixels.
  module, params = build('R26+ViT-S/32', num_classes=10, depth=1)

  def loss(params, images):
    return module.apply(params, images, train=True).logits.sum()

  forward, both = (
    flop_count.forward_flops(function, params, PIXELS, on_padding=False)
    for function in (loss, jax.value_and_grad(loss, argnums=(0, 1)))
  )
  assert both == 3 * forward
  assert flop_count.training_flops(loss, params, PIXELS) > both


@pytest.mark.parametrize('size, stride', [(14, 1), (15, 2), (224, 2)])
def test_xla_counts_alike_where_taps_on_padding_are_left_out(size, stride):
  def convolve(image, kernel):
    return jax.lax.conv_general_dilated(
      image,
      kernel,
      (stride, stride),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )

  image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
  kernel = jax.ShapeDtypeStruct((7, 7, 3, 5), jnp.float32)
  cost = jax.jit(convolve).lower(image, kernel).cost_analysis()
  ours = flop_count.forward_flops(convolve, image, kernel, on_padding=False)
  assert ours == cost['flops']
  assert flop_count.forward_flops(convolve, image, kernel) == (
    2 * 2 * (-(-size // stride)) ** 2 * 7 * 7 * 3 * 5
  )


def square(x):
  return x @ x


@jax.custom_vjp
def custom_square(x):
  return x @ x


custom_square.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x.T + x.T @ g,))


@pytest.mark.parametrize(
  'function, products',
  [
    (square, 1),
    (jax.jit(square), 1),
    (jax.checkpoint(square), 1),
    (custom_square, 1),
    (lambda x: jax.lax.scan(lambda y, _: (y @ x, y), x, length=5)[0], 5),
    (lambda x: jax.lax.fori_loop(0, 6, lambda _, y: y @ x, x, unroll=2), 6),
    (jax.value_and_grad(lambda x: jax.checkpoint(square)(x).sum()), 3),
    (
      lambda x: jax.lax.cond(
        x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x
      ),
      2,
    ),
    (lambda x: x * x + jnp.tanh(x), 0),
  ],
)
def test_products_are_found_wherever_they_are(function, products):
  x = jax.ShapeDtypeStruct((4, 4), jnp.float32)
  assert flop_count.forward_flops(function, x) == products * 2 * 4**3


def test_grouped_convolutions_cost_a_part():
  def convolve(image, kernel):
    return jax.lax.conv_general_dilated(
      image,
      kernel,
      (1, 1),
      'VALID',
      feature_group_count=4,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )

  image = jax.ShapeDtypeStruct((1, 8, 8, 16), jnp.float32)
  kernel = jax.ShapeDtypeStruct((3, 3, 4, 32), jnp.float32)
  assert flop_count.forward_flops(convolve, image, kernel) == (
    2 * 6 * 6 * 3 * 3 * 4 * 32
  )


def test_loops_of_unknown_length_are_refused():
  def loop(x):
    return jax.lax.while_loop(lambda y: y[0, 0] > 0, lambda y: y @ y, x)

  x = jax.ShapeDtypeStruct((4, 4), jnp.float32)
  with pytest.raises(ValueError, match='how often it runs is not known'):
    flop_count.forward_flops(loop, x)


def test_nothing_is_allocated():
  x = jax.ShapeDtypeStruct((2**24, 2**24), jnp.float32)
  assert flop_count.forward_flops(square, x) == 2 * 2**72
