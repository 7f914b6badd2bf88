"""Affine transformations move what they should, and only so far."""

import numpy as np

from vit_jax.data.transforms import affine


def dot(row, column, size=33):
  image = np.zeros((size, size, 3), np.uint8)
  image[row - 1 : row + 2, column - 1 : column + 2] = 255
  return image


def centre_of_mass(image):
  weight = image[..., 0].astype(float)
  axis = np.arange(len(image))
  total = weight.sum()
  return (weight.sum(1) @ axis / total, weight.sum(0) @ axis / total)


def test_nothing_to_draw_from_leaves_the_image_alone():
  still = affine.RandomAffine(33, 33, angle=0, zoom=1, shift=0)
  image = dot(5, 9)
  np.testing.assert_array_equal(still(image, np.random.default_rng(0)), image)


def test_a_shift_moves_by_at_most_its_share():
  moved = affine.RandomAffine(33, 33, angle=0, zoom=1, shift=0.2)
  for seed in range(20):
    row, column = centre_of_mass(
      moved(dot(16, 16), np.random.default_rng(seed))
    )
    assert abs(row - 16) <= 0.2 * 33 + 0.5
    assert abs(column - 16) <= 0.2 * 33 + 0.5


def test_the_matrix_says_where_pixels_go():
  transform = affine.RandomAffine(33, 33)
  for seed in range(20):
    after = centre_of_mass(transform(dot(20, 12), np.random.default_rng(seed)))
    x, y = transform.matrix(np.random.default_rng(seed)) @ [12, 20, 1]
    np.testing.assert_allclose(after, (y, x), atol=0.3)


def test_the_centre_stays_without_a_shift():
  transform = affine.RandomAffine(8, 16, shift=0)
  matrix = transform.matrix(np.random.default_rng(0))
  np.testing.assert_allclose(matrix @ [7.5, 3.5, 1], [7.5, 3.5])


def test_zoom_is_as_often_in_as_out():
  transform = affine.RandomAffine(8, 8, angle=0, zoom=2)
  rng = np.random.default_rng(0)
  zooms = np.array([transform.matrix(rng)[0, 0] for _ in range(2000)])
  assert 0.5 <= zooms.min() < 0.52 and 1.96 < zooms.max() <= 2
  assert 0.46 < (zooms > 1).mean() < 0.54
