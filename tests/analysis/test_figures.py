"""Figures show what is in the arrays, for any number and any grid."""

import itertools

import matplotlib
import numpy as np
import PIL.Image
import pytest
from matplotlib import text

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


def texts_of(figure):
  return [each.get_text() for each in figure.findobj(text.Text)]


@pytest.mark.parametrize('count', [1, 5])
def test_maps_have_the_name_of_the_file_and_the_class_below(
  count, tmp_path, drawn
):
  long = 'IMG_' + 80 * 'x' + '_last.jpg'
  captions = [(f'{n}.png', f'fox $5$ {n}%') for n in range(count)]
  captions[0] = (long, '狐 98%')
  maps = np.ones((count, 2, 2))
  figures.rollout(tmp_path / 'a.png', grey_images(count), maps, captions)
  shown = texts_of(drawn[0])
  for name, likeliest in captions[1:]:
    assert name in shown and likeliest in shown
  assert '狐 98%' in shown or '□ 98%' in shown
  (short,) = [each for each in shown if each.startswith('IMG_')]
  assert short.endswith('last.jpg') and '…' in short and len(short) < 50
  renderer = drawn[0].canvas.get_renderer()
  boxes = [
    each.get_window_extent(renderer)
    for each in drawn[0].findobj(text.Text)
    if each.get_text() in {short, *(t for pair in captions for t in pair)}
  ]
  assert len(boxes) >= 2 * count - 1
  for one, other in itertools.combinations(boxes, 2):
    assert not one.overlaps(other)


def test_a_bar_tells_what_the_colours_of_a_map_mean(tmp_path, drawn):
  path = figures.rollout(
    tmp_path / 'a.png', grey_images(1), np.zeros((1, 2, 2))
  )
  assert {'0', "image's largest share"} <= set(texts_of(drawn[0]))
  ends = matplotlib.colormaps['inferno']([0, 255], bytes=True)[:, :3]
  top = pixels_of(path)[:80].reshape(-1, 3)
  for color in ends:
    assert (np.abs(top - color).max(-1) < 12).any()


def test_the_image_is_seen_below_its_map(tmp_path):
  """Stripes that the image has are there wherever the map is, of any share."""
  images = grey_images(1, 32, 32)
  images[:, ::2] = 0
  for share in 0.0, 1.0:
    maps = np.full((1, 1, 1), share)
    drawn = pixels_of(figures.rollout(tmp_path / 'a.png', images, maps))
    height, width = drawn.shape[:2]
    part = drawn[height // 2 : -40, width * 5 // 8]
    assert np.ptp(part.mean(-1)) > 20


def test_what_a_figure_is_of_is_said(tmp_path, drawn):
  distances = np.ones((2, 3))
  figures.attention_distance(tmp_path / 'a.png', distances, 1.0, 1)
  assert any('3 heads' in t and 'one image' in t for t in texts_of(drawn[0]))
  shares = np.array([0.5, 0.25])
  figures.patch_filters(tmp_path / 'a.png', np.ones((2, 4, 4, 3)), shares)
  assert any('75% of the variance' in each for each in texts_of(drawn[1]))


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
