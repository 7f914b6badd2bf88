"""Resizing, against what other libraries compute."""

import cv2
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from vit_jax.weights import resizing

GRIDS = [((14, 14), (24, 24)), ((7, 7), (3, 12)), ((4, 6), (6, 4))]
CV2 = {'bilinear': cv2.INTER_LINEAR, 'bicubic': cv2.INTER_CUBIC}


def random_grid(grid, width=3):
  rng = np.random.default_rng(0)
  return rng.standard_normal((1, grid[0] * grid[1], width), np.float32)


@pytest.mark.parametrize(('grid', 'new_grid'), GRIDS)
def test_corner_aligned_is_the_zoom_of_scipy(grid, new_grid):
  embedding = random_grid(grid)
  got = resizing.resize_grid(embedding, grid, new_grid, 'corner_aligned')
  zoom = (new_grid[0] / grid[0], new_grid[1] / grid[1], 1)
  wanted = scipy.ndimage.zoom(embedding.reshape(*grid, -1), zoom, order=1)
  np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=1e-6)


@pytest.mark.parametrize('method', CV2)
@pytest.mark.parametrize(('grid', 'new_grid'), GRIDS)
def test_half_pixel_methods_are_those_of_opencv(method, grid, new_grid):
  embedding = random_grid(grid)
  got = resizing.resize_grid(embedding, grid, new_grid, method)
  wanted = cv2.resize(
    embedding.reshape(*grid, -1), new_grid[::-1], interpolation=CV2[method]
  )
  np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=1e-5)


@pytest.mark.parametrize(('grid', 'new_grid'), [*GRIDS, ((24, 24), (14, 7))])
def test_the_antialiased_method_is_that_of_pil(grid, new_grid):
  embedding = random_grid(grid)
  got = resizing.resize_grid(embedding, grid, new_grid, 'bicubic_antialiased')
  wanted = [
    Image.fromarray(channel).resize(new_grid[::-1], Image.Resampling.BICUBIC)
    for channel in np.moveaxis(embedding.reshape(*grid, -1), -1, 0)
  ]
  wanted = np.stack(wanted, axis=-1)
  np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=1e-5)


def test_corners_stay_where_they_are():
  embedding = random_grid((5, 5))
  got = resizing.resize_grid(embedding, (5, 5), (9, 7), 'corner_aligned')
  old, new = embedding.reshape(5, 5, -1), got.reshape(9, 7, -1)
  for row in 0, -1:
    for column in 0, -1:
      np.testing.assert_allclose(new[row, column], old[row, column], atol=1e-6)


def test_a_grid_of_one_takes_the_first():
  embedding = random_grid((3, 1))
  got = resizing.resize_grid(embedding, (3, 1), (1, 2), 'corner_aligned')
  np.testing.assert_allclose(got[0, 0], embedding[0, 0], atol=1e-6)


def test_an_enlarged_patch_keeps_its_embedding():
  """FlexiViT, section 3.4: <x, w> = <resized x, resized w>."""
  rng = np.random.default_rng(0)
  patch = rng.standard_normal((4, 4, 3), np.float32)
  kernel = rng.standard_normal((4, 4, 3, 5), np.float32)
  larger = cv2.resize(patch, (9, 8), interpolation=cv2.INTER_LINEAR)
  resized = resizing.resize_patches(kernel, (8, 9))
  np.testing.assert_allclose(
    np.einsum('hwi,hwid->d', larger, resized),
    np.einsum('hwi,hwid->d', patch, kernel),
    atol=1e-4,
  )


def test_patches_of_the_same_size_keep_their_kernel():
  kernel = np.random.default_rng(0).standard_normal((4, 4, 3, 5), np.float32)
  resized = resizing.resize_patches(kernel, (4, 4))
  np.testing.assert_allclose(resized, kernel, atol=1e-6)
