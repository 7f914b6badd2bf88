"""Sizes and places are rounded as each project rounds them."""

import math

import numpy as np
import pytest

from vit_jax.data.transforms import crops, whole_pixels

NEAREST, TIMM, TRANSFORMERS = whole_pixels.ROUNDINGS.values()


def test_timm_rounds_a_side_of_the_crop_down():
  """floor(size / crop_pct), as its configurations have them."""
  for side in 64, 160, 224, 240, 256, 288, 336, 384, 448, 512, 518:
    for thousandths in range(700, 1001, 5):
      crop_pct = thousandths / 1000
      assert TIMM.box(side, 1 / crop_pct) == math.floor(side / crop_pct)


@pytest.mark.parametrize(
  ('height', 'width', 'expected'),
  [
    (427, 640, (256, 383)),  # int(256 * 640 / 427): 383.7.
    (640, 427, (383, 256)),
    (100, 100, (256, 256)),
    (3, 100, (256, 8533)),
  ],
)
def test_the_shorter_side_is_exact_and_the_longer_rounded_down(
  height, width, expected
):
  for rule in TIMM, TRANSFORMERS:
    assert rule.cover(height, width, 224, 224, 8 / 7) == expected


def test_half_a_pixel_goes_where_each_project_puts_it():
  excess = (0, 1, 2, 3, 5, 7)
  assert [TIMM.before(n) for n in excess] == [0, 0, 1, 2, 2, 4]
  assert [TRANSFORMERS.before(n) for n in excess] == [0, 0, 1, 1, 2, 3]
  assert [NEAREST.before(n) for n in excess] == [0, 0, 1, 1, 2, 3]


def test_rules_agree_but_for_a_pixel():
  rng = np.random.default_rng(0)
  for height, width, side in rng.integers(30, 700, (300, 3)).tolist():
    for size in (side, side), (side, side + 64):
      sizes = [
        rule.cover(height, width, *size, 1.0) for rule in (NEAREST, TIMM)
      ]
      assert np.abs(np.subtract(*sizes)).max() <= 1
      sizes = [rule.fit(height, width, *size, 1.0) for rule in (NEAREST, TIMM)]
      assert np.abs(np.subtract(*sizes)).max() <= 1
      assert all(np.less_equal(sizes[1], size))


@pytest.mark.parametrize('rounding', whole_pixels.ROUNDINGS.values())
@pytest.mark.parametrize(
  'crop', [crops.Central, crops.Stretch, crops.Letterbox]
)
def test_a_crop_has_its_size(crop, rounding):
  for shape in (5, 300), (300, 5), (64, 64), (41, 67):
    image = np.zeros((*shape, 3), np.uint8)
    for scale in 1.0, 8 / 7, 1.5:
      make = crop(48, 80, scale=scale, rounding=rounding)
      assert make(image).shape == (48, 80, 3)
