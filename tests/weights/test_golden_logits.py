"""Released weights give the logits that the original implementation gave.

tests/golden holds names, shapes and logits; the weights follow from the names.
"""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

from vit_jax import pytrees
from vit_jax.nn import weight_standardization
from vit_jax.weights import mapping
from vit_jax.weights.tables import vit

pytestmark = pytest.mark.usefixtures('optimized')

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
CASES = {'ti16': 'ViT-Ti/16', 'b32': 'ViT-B/32', 'r26s32': 'R26+ViT-S/32'}
CHANGED = (
  'The same weights give other logits than the original implementation: a '
  'fault of ours, unless the stored logits were computed anew.'
)


@functools.cache
def read(case):
  """Returns what is known of a released checkpoint, and its logits."""
  facts = json.loads((GOLDEN / f'{case}.json').read_text())
  with np.load(GOLDEN / f'{case}.npz') as file:
    (logits,) = (file[name] for name in file.files)
  return facts, logits


@pytest.fixture(scope='module')
def error(zoo, weights):
  """Returns error(case, **fields): the largest, relative to the logits."""
  released = functools.cache(lambda case: weights.tree(read(case)[0]['shapes']))

  def compute(case, **fields):
    facts, wanted = read(case)
    side = facts['evaluated_at']
    model = zoo.build(CASES[case], num_classes=1000, **fields)
    flat = mapping.to_ours(
      released(case), vit.table(facts['shapes']), zoo.shapes(model, side)
    )
    logits = zoo.logits(model, flat, weights.images(2, side, side))
    return np.abs(logits - wanted).max() / np.abs(wanted).max()

  return compute


@pytest.mark.parametrize('case', CASES)
def test_every_released_leaf_has_its_place_in_the_model(case, zoo):
  facts, _ = read(case)
  table = vit.table(facts['shapes'])
  model = zoo.build(CASES[case], num_classes=1000)
  wanted = zoo.shapes(model, facts['resolution'])
  theirs = {
    name: jax.ShapeDtypeStruct(tuple(shape), np.float32)
    for name, shape in facts['shapes'].items()
  }
  ours = jax.eval_shape(
    lambda flat: mapping.to_ours(flat, table, wanted), theirs
  )
  assert not pytrees.diff(ours, wanted)
  back = jax.eval_shape(lambda flat: mapping.to_theirs(flat, table), wanted)
  assert not pytrees.diff(back, theirs)


@pytest.mark.parametrize('case', CASES)
def test_logits_are_those_of_the_original_implementation(case, error):
  assert error(case) < 1e-5, CHANGED


def test_another_gelu_is_noticed(error):
  assert error('ti16', gelu='erf') > 1e-4


def test_another_epsilon_of_layer_norm_is_noticed(error):
  assert error('ti16', norm_epsilon=1e-5) > 1e-5


def test_another_padding_of_convolutions_is_noticed(monkeypatch, error):
  convolution = weight_standardization.StdConv

  def pad_alike(*, kernel_size, padding, **options):
    assert padding == 'SAME'
    return convolution(
      kernel_size=kernel_size, padding=kernel_size // 2, **options
    )

  monkeypatch.setattr(weight_standardization, 'StdConv', pad_alike)
  assert error('r26s32') > 1e-4


def test_kernels_that_are_not_standardised_are_noticed(monkeypatch, error):
  monkeypatch.setattr(
    weight_standardization, 'divide_by_deviation', lambda kernel: kernel
  )
  assert error('r26s32') > 1e-4


def test_another_epsilon_of_standardisation_is_noticed(monkeypatch, error):
  monkeypatch.setattr(
    weight_standardization,
    'divide_by_deviation',
    weight_standardization.divide_by_root_of_variance,
  )
  assert error('r26s32') > 1e-5
