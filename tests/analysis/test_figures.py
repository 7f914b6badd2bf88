"""Figures show what is in the arrays, for any number and any grid."""

import numpy as np
import PIL.Image
import pytest

from vit_jax.analysis import figures


def pixels_of(path):
  """Returns the pixels of a picture, float [rows, columns, 3]."""
  return np.asarray(PIL.Image.open(path).convert('RGB'), float)


def centre(mask):
  """Returns the mean (row, column) of where it is true."""
  return np.argwhere(mask).mean(axis=0)


def grey_images(count, height=32, width=48):
  return np.full((count, height, width, 3), 128, np.uint8)


def test_heat_is_where_the_share_is(tmp_path):
  top_left = np.zeros((1, 2, 3))
  top_left[0, 0, 0] = 1
  first = pixels_of(
    figures.rollout(tmp_path / 'a.png', grey_images(1), top_left)
  )
  second = pixels_of(
    figures.rollout(tmp_path / 'b.png', grey_images(1), top_left[:, ::-1, ::-1])
  )
  change = (first - second).sum(-1)
  here, there = centre(change > 60), centre(change < -60)
  assert (here < there).all()
  assert here[1] > first.shape[1] / 2  # The image itself is on the left.


@pytest.mark.parametrize('count', [1, 3, 4, 5])
def test_any_number_of_maps_is_drawn(tmp_path, count):
  maps = np.random.default_rng(0).random((count, 3, 4))
  path = figures.rollout(tmp_path / 'a.png', grey_images(count), maps)
  assert pixels_of(path).std() > 5


def test_the_first_24_maps_are_drawn_and_none_may_be_black(tmp_path):
  maps = np.zeros((25, 2, 2))
  few = figures.rollout(tmp_path / 'a.png', grey_images(24), maps[:24])
  many = figures.rollout(tmp_path / 'b.png', grey_images(25), maps)
  np.testing.assert_array_equal(pixels_of(few), pixels_of(many))


@pytest.mark.parametrize('shape', [(1, 1), (12, 3), (32, 16)])
def test_any_number_of_heads_and_layers_is_drawn(tmp_path, shape):
  distances = np.random.default_rng(0).uniform(0, 90, shape)
  path = figures.attention_distance(tmp_path / 'a.png', distances, 70.0, 5)
  assert pixels_of(path).std() > 5


def test_tiles_are_where_their_patches_are():
  similarity = np.random.default_rng(0).random((2, 3, 2, 3))
  tiles = figures._tiles(similarity)
  assert tiles.shape == (2 * 2 + 1, 3 * 3 + 2)
  np.testing.assert_array_equal(tiles[3:5, 4:7], similarity[1, 1])
  assert np.isnan(tiles[2]).all() and np.isnan(tiles[:, [3, 7]]).all()


@pytest.mark.parametrize('grid', [(1, 1), (2, 7), (20, 20)])
def test_similarity_of_any_grid_is_drawn(tmp_path, grid):
  similarity = np.ones((*grid, *grid), np.float32)
  path = figures.position_similarity(tmp_path / 'a.png', similarity)
  yellow = np.all(np.abs(pixels_of(path) - (253, 231, 37)) < 4, axis=-1)
  assert yellow.mean() > 0.1


@pytest.mark.parametrize('count', [1, 9, 28])
def test_zero_is_grey_and_any_number_of_filters_is_drawn(tmp_path, count):
  components = np.zeros((count, 4, 4, 3), np.float32)
  blank = pixels_of(figures.patch_filters(tmp_path / 'a.png', components))
  components[..., 0] = 0.01  # Each is scaled by itself.
  red = pixels_of(figures.patch_filters(tmp_path / 'b.png', components))
  grey = np.all(np.abs(blank - 127.5) < 1, axis=-1)
  assert grey.mean() > 0.1
  np.testing.assert_allclose(
    red[grey].mean(axis=0), (255, 127.5, 127.5), atol=5
  )
