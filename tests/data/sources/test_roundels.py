import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import sources
from vit_jax.data.sources import roundels

SCENES = [
  roundels.draw_scene(number % 24, np.random.default_rng(number))
  for number in range(48)
]


@pytest.fixture
def data():
  data = schema.default().data
  data.source = 'roundels'
  data.num_examples, data.resolution = 96, (16,)
  return data


def test_an_example_is_a_function_of_its_split_and_index(data):
  one, two = sources.build(data, 'train'), sources.build(data, 'train')
  np.testing.assert_array_equal(one[7]['image'], two[7]['image'])
  other = sources.build(data, 'test')
  assert np.any(one[7]['image'] != other[7]['image'])
  assert np.any(one[7]['image'] != one[31]['image'])
  assert one[7]['label'] == one[31]['label'] == other[7]['label'] == 7


def test_each_class_comes_as_often_and_has_a_name(data, images_and_labels):
  source = sources.build(data, 'train')
  images, labels = images_and_labels(source)
  assert images.shape == (96, 16, 16, 3) and images.dtype == np.uint8
  np.testing.assert_array_equal(np.bincount(labels), [4] * 24)
  assert source.num_classes == len(set(source.class_names)) == 24
  data.num_classes = 30
  _, labels = images_and_labels(sources.build(data, 'train'))
  np.testing.assert_array_equal(np.bincount(labels), [4] * 24)


def test_a_scene_is_the_same_at_every_resolution():
  for scene in SCENES:
    fine = roundels.render(scene, 128, 128)
    averaged = fine.reshape(16, 8, 16, 8, 3).mean((1, 3))
    coarse = roundels.render(scene, 16, 16)
    assert np.abs(averaged - coarse).mean() < 2
    assert np.ptp(coarse) > 30


def test_a_wide_image_shows_more_ground_and_the_same_roundel():
  for scene in SCENES:
    wide = roundels.render(scene, 16, 24)
    square = roundels.render(scene, 16, 16)
    np.testing.assert_allclose(wide[:, 4:-4], square, atol=1e-9)
    ground = np.tile(scene.colors[0], (16, 2, 1))
    np.testing.assert_allclose(wide[:, :2], ground)


def look(image, scene, side, distance):
  """Returns the colour that a scene shows to one side of its centre.

  Args:
    image: square, without noise.
    scene: its tilt is at most 0.2, which moves a point by as much.
    side: (to the right, down), of -1, 0 and 1.
    distance: from the centre, in radii.
  """
  middle = (np.array(scene.center) + 1) / 2 * len(image)
  reach = distance * scene.radius / 2 * len(image)
  column, row = (middle + reach * np.array(side)).astype(int)
  return image[row, column]


def test_the_tinctures_are_where_the_class_says():
  sides = {'|': ((-1, 0), (1, 0)), '-': ((0, -1), (0, 1))}
  for scene in SCENES:
    image = roundels.render(scene, 96, 96)
    _, first, parting, second = roundels.CLASSES[scene.label]
    for side, tincture in zip(sides[parting], (first, second)):
      paint = look(image, scene, side, 0.75)
      assert ('red', 'green', 'blue')[paint.argmax()] == tincture


def test_a_ring_shows_the_ground_in_its_middle_and_a_disc_does_not():
  for scene in SCENES:
    image = roundels.render(scene, 96, 96)
    middle = look(image, scene, (0.3, 0.3), 1.0)
    is_ground = np.allclose(middle, scene.colors[0])
    assert is_ground == (roundels.CLASSES[scene.label][0] == '○')


def test_the_whole_roundel_shows():
  for scene in SCENES:
    image = roundels.render(scene, 96, 96)
    for side in (-1, 0), (1, 0), (0, -1), (0, 1):
      edge = look(image, scene, side, 0.95)
      assert not np.allclose(edge, scene.colors[0])


def test_images_are_drawn_once_where_all_fit_in_memory(data, monkeypatch):
  source = sources.build(data, 'train')
  image = source[3]['image']
  assert source[3]['image'] is image
  monkeypatch.setattr(roundels, '_MAX_CACHED', 96 * 16 * 16 * 3 - 1)
  source = sources.build(data, 'train')
  np.testing.assert_array_equal(source[3]['image'], image)
  assert source[3]['image'] is not source[3]['image']


def test_neither_mean_image_nor_mean_colour_is_enough(data, images_and_labels):
  data.num_examples = 960
  images, labels = images_and_labels(sources.build(data, 'train'))
  data.num_examples = 240
  tests, wanted = images_and_labels(sources.build(data, 'test'))

  def accuracy(features):
    known, unknown = features(images), features(tests)
    means = np.stack([known[labels == label].mean(0) for label in range(24)])
    distances = np.square(unknown[:, None] - means[None]).sum(-1)
    return np.mean(distances.argmin(1) == wanted)

  assert accuracy(lambda images: images.reshape(len(images), -1)) < 0.5
  assert accuracy(lambda images: images.mean((1, 2))) < 0.2  # Two tinctures.


def test_neighbours_share_no_noise(data, monkeypatch):
  monkeypatch.setattr(
    roundels, 'render', lambda *_: np.full((16, 16, 3), 128.0)
  )
  one, two = (sources.build(data, 'train')[i]['image'].ravel() for i in (4, 5))
  for shift in range(12):
    shifted = np.corrcoef(one[shift:], two[: two.size - shift])[0, 1]
    assert abs(shifted) < 0.2


def test_slices_are_nested_and_tell_where_they_are_from(data):
  whole = sources.build(data, 'train')
  small, next_small, large = (
    sources.build(data, f'train[{bounds}]') for bounds in (':8', '8:16', ':40')
  )
  assert len(small) == 8 and set(small.indices) < set(large.indices)
  index = small.indices[7]
  assert index > 7
  np.testing.assert_array_equal(small[7]['image'], whole[index]['image'])
  assert small.where(7) == whole.where(index) == f'roundel {index} of train'
  parts = whole, small, next_small, large
  prints = {sources.fingerprint(part) for part in parts}
  assert len(prints) == 4


def test_splits_are_not_joined(data):
  with pytest.raises(errors.UserError, match=r"roundels: 'a\+b' joins splits"):
    sources.build(data, 'a+b')
