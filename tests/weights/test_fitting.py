"""Weights are fitted to a model as asked, and to the last leaf explained."""

import jax
import numpy as np
import pytest

from vit_jax import errors, pytrees
from vit_jax.weights import fitting, resizing

POSITIONS = 'encoder/position_embedding/embedding'
HEAD = {'head/bias', 'head/kernel'}


def fit(given, wanted, **changes):
  params, report = fitting.fit(
    given, pytrees.unflatten(wanted), fitting.Changes(**changes)
  )
  return pytrees.flatten(params), report


def assert_explained(report, given, wanted):
  """Every leaf on either side is in the report, once."""
  ours = [*report.loaded, *report.resized, *report.fresh]
  theirs = [*report.loaded, *report.resized, *report.unused]
  assert sorted(ours) == sorted(wanted)
  assert sorted(theirs) == sorted(given)


def test_what_fits_is_loaded_and_nothing_else_happens(zoo):
  model = zoo.small()
  given, wanted = zoo.params(model, 32), zoo.params(model, 32, seed=1)
  params, report = fit(given, wanted)
  assert_explained(report, given, wanted)
  assert len(report.loaded) == len(wanted)
  for path in wanted:
    np.testing.assert_array_equal(params[path], given[path])


def test_shapes_suffice_where_nothing_stays_fresh(zoo):
  model = zoo.small()
  given = zoo.params(model, 32)
  params, _ = fit(given, zoo.shapes(model, 32))
  assert params.keys() == given.keys()


def test_other_dtypes_become_those_of_the_model(zoo):
  model = zoo.small()
  given = zoo.params(model, 32)
  given = {path: leaf.astype('bfloat16') for path, leaf in given.items()}
  params, _ = fit(given, zoo.params(model, 32))
  assert {leaf.dtype for leaf in params.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize('method', resizing.METHODS)
def test_positions_are_resized_and_the_class_row_is_kept(method, zoo):
  model = zoo.small()
  given, wanted = zoo.params(model, 64), zoo.params(model, 32, 96)
  params, report = fit(given, wanted, grid=(2, 6), positions=method)
  assert report.resized == {POSITIONS: ((1, 17, 8), (1, 13, 8))}
  old, new = given[POSITIONS], params[POSITIONS]
  np.testing.assert_array_equal(new[:, 0], old[:, 0])
  resized = resizing.resize_grid(old[:, 1:], (4, 4), (2, 6), method)
  np.testing.assert_array_equal(new[:, 1:], resized)


def test_a_grid_of_the_same_size_but_another_shape_is_resized(zoo):
  model = zoo.small()
  given, wanted = zoo.params(model, 64), zoo.params(model, 32, 128)
  _, report = fit(given, wanted, grid=(2, 8))
  assert list(report.resized) == [POSITIONS]
  _, report = fit(given, wanted, grid=(2, 8), given_grid=(2, 8))
  assert not report.resized


def test_the_grid_of_the_model_is_never_guessed(zoo):
  model = zoo.small()
  with pytest.raises(
    errors.UserError, match=r'give the grid=\(rows, columns\)'
  ):
    fit(zoo.params(model, 64), zoo.params(model, 32))


def test_a_grid_that_is_no_square_must_be_told(zoo):
  model = zoo.small()
  given, wanted = zoo.params(model, 32, 96), zoo.params(model, 64)
  with pytest.raises(errors.UserError, match='12 patches, which are no square'):
    fit(given, wanted, grid=(4, 4))
  _, report = fit(given, wanted, grid=(4, 4), given_grid=(2, 6))
  assert list(report.resized) == [POSITIONS]


@pytest.mark.parametrize(('rows', 'columns'), [(2, 6), (6, 2), (1, 12)])
def test_a_grid_that_can_be_no_square_is_the_one_asked_for(zoo, rows, columns):
  model = zoo.small()
  given = zoo.params(model, 16 * rows, 16 * columns)
  fitted, report = fit(given, given, grid=(rows, columns))
  assert not report.resized
  np.testing.assert_array_equal(
    pytrees.flatten(fitted)[POSITIONS], pytrees.flatten(given)[POSITIONS]
  )


def test_a_wrong_grid_is_refused(zoo):
  params = zoo.params(zoo.small(), 64)
  with pytest.raises(errors.UserError, match='no grid of 3 x 4; give grid='):
    fit(params, params, grid=(3, 4))


def test_a_replaced_head_is_that_of_the_model(zoo):
  given = zoo.params(zoo.small(head='pre_logits'), 32)
  wanted = zoo.params(zoo.small(num_classes=3), 32, seed=1)
  params, report = fit(given, wanted, head='replace')
  assert_explained(report, given, wanted)
  assert report.fresh.keys() == HEAD
  assert report.unused.keys() == HEAD | {
    'head_hidden/bias',
    'head_hidden/kernel',
  }
  for path in HEAD:
    np.testing.assert_array_equal(params[path], wanted[path])


def test_a_replaced_head_of_the_same_size_is_replaced_too(zoo):
  given = zoo.params(zoo.small(), 32)
  wanted = zoo.params(zoo.small(), 32, seed=1)
  _, report = fit(given, wanted, head='replace')
  assert report.fresh.keys() == report.unused.keys() == HEAD


def test_a_head_may_be_left_unused(zoo):
  given = zoo.params(zoo.small(), 32)
  wanted = zoo.params(zoo.small(num_classes=0), 32)
  _, report = fit(given, wanted, unused=('head/.*',))
  assert_explained(report, given, wanted)
  assert report.unused.keys() == HEAD


def test_a_class_token_is_added_at_no_position(zoo):
  given = zoo.params(zoo.small(pooling='average'), 32)
  wanted = zoo.params(zoo.small(), 32, seed=1)
  params, report = fit(given, wanted, class_token='add')
  assert_explained(report, given, wanted)
  assert list(report.fresh) == ['class_token']
  np.testing.assert_array_equal(params[POSITIONS][:, 0], 0)
  np.testing.assert_array_equal(params[POSITIONS][:, 1:], given[POSITIONS])


def test_a_class_token_is_dropped_with_its_row(zoo):
  given = zoo.params(zoo.small(), 32)
  wanted = zoo.params(zoo.small(pooling='average'), 32)
  params, report = fit(given, wanted, class_token='drop')
  assert_explained(report, given, wanted)
  assert list(report.unused) == ['class_token']
  np.testing.assert_array_equal(params[POSITIONS], given[POSITIONS][:, 1:])


def test_patches_are_resized_on_request_only(zoo):
  given = zoo.params(zoo.small(name='ViT-B/16'), 32)
  wanted = zoo.params(zoo.small(name='ViT-B/8'), 16)
  with pytest.raises(errors.UserError, match=r'stem/embedding/kernel: \(16'):
    fit(given, wanted)
  params, report = fit(given, wanted, patches='resize')
  assert list(report.resized) == ['stem/embedding/kernel']
  assert params['stem/embedding/kernel'].shape == (8, 8, 3, 8)


def test_other_parts_stay_fresh_or_unused_where_it_is_said(zoo):
  given = zoo.params(zoo.small(), 32)
  wanted = zoo.params(zoo.small(pooling='attention'), 32)
  changes = {'class_token': 'drop', 'fresh': ('pooling/.*',)}
  _, report = fit(given, wanted, **changes)
  assert_explained(report, given, wanted)
  assert all(path.startswith('pooling/') for path in report.fresh)
  _, report = fit(wanted, given, class_token='add', unused=('pooling/.*',))
  assert all(path.startswith('pooling/') for path in report.unused)


def test_all_that_is_unexplained_is_shown_together(zoo):
  given = zoo.params(zoo.small(depth=3), 32)
  wanted = zoo.params(zoo.small(num_classes=3, pooling='average'), 32)
  with pytest.raises(errors.UserError) as caught:
    fit(given, wanted)
  message = str(caught.value)
  assert '- encoder/block_2/mlp/out/bias: (8,) (not wanted)' in message
  assert '! head/kernel: (8, 5) (wanted: (8, 3))' in message
  assert '- class_token: (1, 1, 8) (not wanted)' in message
  assert '--config.model.name=NAME' in message  # What a user can do.


def test_a_missing_leaf_is_never_initialised_silently(zoo):
  params = zoo.params(zoo.small(), 32)
  given = dict(params)
  given.pop('encoder/norm/scale')
  with pytest.raises(errors.UserError, match=r'\+ encoder/norm/scale: \(8,\)'):
    fit(given, params)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('head', 'keeep'),
    ('class_token', 'ad'),
    ('patches', 'resizee'),
    ('positions', 'bicubicle'),
  ],
)
def test_an_unknown_choice_names_the_nearest(field, value):
  with pytest.raises(errors.UserError, match=f'{field}=.* Did you mean'):
    fitting.Changes(**{field: value})


def test_a_pattern_that_is_none_is_refused():
  with pytest.raises(errors.UserError, match='is no pattern of paths'):
    fitting.Changes(unused=('head/(',))


def test_the_report_reads_as_lines(zoo):
  given, wanted = zoo.params(zoo.small(), 64), zoo.params(zoo.small(), 32)
  _, report = fit(given, wanted, grid=(2, 2), head='replace')
  lines = str(report).split('\n')
  assert f'  {POSITIONS} ((1, 17, 8), (1, 5, 8))' in lines
  assert '  head/bias (5,)' in lines


def test_the_plan_needs_no_arrays(zoo):
  shapes = zoo.shapes(zoo.small(), 32)
  assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in shapes.values())
  report = fitting.plan(shapes, shapes, fitting.NONE)
  assert report.loaded.keys() == shapes.keys()
