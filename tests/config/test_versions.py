"""Names of older versions: read in a run's config.json, refused when typed."""

import json
import pathlib

import pytest

from vit_jax import errors
from vit_jax.config import overrides, recipes, schema, versions

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'run' / recipes.FILE
VALUES = [
  (field, old, new)
  for field, names in versions.RENAMED_VALUES.items()
  for old, new in names.items()
]


def old_config(tmp_path, **groups):
  """Writes the oldest config.json with other values; returns its path."""
  config = json.loads(GOLDEN.read_text())
  for group, fields in groups.items():
    config[group].update(fields)
  path = tmp_path / recipes.FILE
  path.write_text(json.dumps(config))
  return str(path)


def test_what_was_renamed_is_a_field_now_and_was_one():
  known = overrides.flatten(schema.default())
  oldest = overrides.flatten(json.loads(GOLDEN.read_text()))
  assert set(versions.RENAMED.values()) <= set(known)
  assert set(versions.RENAMED) <= set(oldest)
  assert not set(versions.RENAMED) & set(known)
  assert set(versions.RENAMED_VALUES) <= set(known)


def test_old_names_in_a_config_mean_what_they_meant(tmp_path):
  config = recipes.load(
    old_config(
      tmp_path,
      data={'upright': True, 'repeats': 2, 'erasing': 0.25},
      run={'max_skipped_in_row': 7, 'loss_spike': 5.0},
    )
  )
  assert config.data.exif_orientation is True
  assert config.data.repeated_augmentation == 2
  assert config.data.random_erasing == 0.25
  assert config.data.max_bad_fraction == 0.001
  assert config.run.max_consecutive_skips == 7
  assert config.run.loss_spike_factor == 5.0


@pytest.mark.parametrize(('field', 'old', 'new'), VALUES)
def test_old_values_in_a_config_mean_what_they_meant(tmp_path, field, old, new):
  group, leaf = field.split('.')
  config = recipes.load(old_config(tmp_path, **{group: {leaf: old}}))
  assert config[group][leaf] == new


def test_a_run_of_an_older_version_is_the_same_run(tmp_path):
  path = old_config(tmp_path, data={'eval_crop': 'squash', 'upright': True})
  recipes.check_same(recipes.load(path), tmp_path)


@pytest.mark.parametrize(('old', 'new'), versions.RENAMED.items())
def test_a_typed_old_name_is_refused_with_the_new_one(old, new):
  with pytest.raises(errors.UserError, match=f'{old} is now called {new}'):
    overrides.override(schema.default(), f'--config.{old}=1')


@pytest.mark.parametrize(('field', 'old', 'new'), VALUES)
def test_a_typed_old_value_is_refused_with_the_new_one(field, old, new):
  with pytest.raises(errors.UserError, match=f'{old} is now called {new}'):
    overrides.override(schema.default(), f'--config.{field}={old}')


def test_values_that_are_no_text_are_left_to_the_schema(tmp_path):
  path = old_config(tmp_path, data={'eval_crop': ['squash']})
  with pytest.raises(errors.UserError, match=r'data\.eval_crop'):
    recipes.load(path)
