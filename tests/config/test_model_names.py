"""What the papers' names of models say."""

import pytest

from vit_jax import models
from vit_jax.config import model_names


@pytest.mark.parametrize(
  ('name', 'parts'),
  [
    ('ViT-B/16', ('ViT', 'B', None, None, 16)),
    ('ViT-So400m/14', ('ViT', 'So400m', None, None, 14)),
    ('R50+ViT-L/32', ('ViT', 'L', 'R50', None, 32)),
    ('R+ViT-Ti/16', ('ViT', 'Ti', 'R', None, 16)),
    ('BiT-R152x4', ('BiT', 'R152', None, 4, None)),
    ('Mixer-S/8', ('Mixer', 'S', None, None, 8)),
  ],
)
def test_the_parts_of_a_name(name, parts):
  assert model_names.parse(name) == model_names.ModelName(*parts)


@pytest.mark.parametrize(
  'name',
  ['', 'B/16', 'ViT-B/', 'ViT-B/0', 'ViT-B/1x', 'ViT-B/16-gap', 'ViT-/16'],
)
def test_what_is_no_name(name):
  assert model_names.parse(name) is None


@pytest.mark.parametrize(
  ('name', 'pixels'),
  [
    ('ViT-B/16', 16),
    ('R50+ViT-L/32', 32),
    ('R+ViT-Ti/16', 32),
    ('R+ViT-Ti', None),
    ('BiT-R50x1', None),
    ('no name', None),
  ],
)
def test_the_patch_size_is_read_off_the_name(name, pixels):
  assert model_names.patch_size(name) == pixels


@pytest.mark.parametrize('name', models.NAMES)
def test_every_name_is_of_the_family_that_lists_it(name):
  assert name in models.family(name).names


@pytest.mark.parametrize(
  ('variant', 'name'),
  [
    ('B/16', 'ViT-B/16'),
    ('R50+L/32', 'R50+ViT-L/32'),
    ('R+Ti/16', 'R+ViT-Ti/16'),
    ('R152x4', 'BiT-R152x4'),
    ('R50+ViT-B/16', 'R50+ViT-B/16'),
    ('Mixer-S/8', 'Mixer-S/8'),
  ],
)
def test_a_variant_abbreviates_a_name(variant, name):
  assert model_names.of_variant(variant) == name


def test_names_of_files():
  assert model_names.of_file('R26+ViT-B_32') == 'R26+ViT-B/32'
  assert model_names.of_file('BiT-R50x1') == 'BiT-R50x1'
  assert model_names.to_file('R26+ViT-B/32') == 'R26+ViT-B_32'
