import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data.transforms import crops


@pytest.mark.parametrize(
  'size, target',
  [((300, 400), (112, 112)), ((400, 290), (64, 96)), ((60, 50), (112, 84))],
)
def test_central_crop_agrees_with_pillow(size, target, smooth):
  image = smooth(*size)
  scale = 8 / 7 * max(target[0] / size[0], target[1] / size[1])
  rows, columns = (round(side * scale) for side in size)
  filter = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
  resized = np.asarray(Image.fromarray(image).resize((columns, rows), filter))
  top, left = (rows - target[0]) // 2, (columns - target[1]) // 2
  wanted = resized[top : top + target[0], left : left + target[1]]
  crop = crops.Central(*target)(image)
  assert crop.shape == (*target, 3)
  # Pillow's box takes whole pixels, OpenCV's area shares of them.
  assert np.abs(crop.astype(int) - wanted).max() <= 4


def test_central_crop_of_256_pixels_is_the_middle_224():
  image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
  crop = crops.Central(224, 224)(image)
  np.testing.assert_array_equal(crop, image[16:240, 16:240])


def test_central_crop_averages_all_pixels_it_shrinks():
  noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
  crop = crops.Central(56, 56)(noise)  # 8 x 8 pixels become one.
  assert abs(crop.std() - noise.std() / 8) < 0.5
  assert crops.Stretch(56, 56)(noise).std() > noise.std() / 3


def test_a_squashed_image_of_8_7_of_the_size_has_its_middle_taken(smooth):
  image = smooth(300, 400)
  whole = crops.Stretch(256, 256)(image)
  middle = crops.Stretch(224, 224, scale=8 / 7)(image)
  np.testing.assert_array_equal(middle, whole[16:240, 16:240])


@pytest.mark.parametrize('size', [(1, 1), (2, 500), (500, 3), (7, 7)])
@pytest.mark.parametrize('target', [(16, 16), (8, 24)])
def test_any_image_becomes_any_size(size, target, smooth):
  image, rng = smooth(*size), np.random.default_rng(0)
  for transform in (
    crops.Stretch(*target),
    crops.Central(*target),
    crops.Letterbox(*target),
    crops.PadAndCrop(*target),
    crops.ResizeAndCrop(*target),
    crops.RandomResized(*target, 0.05),
  ):
    result = transform(image, rng)
    assert result.shape == (*target, 3) and result.dtype == np.uint8


def test_central_crop_refuses_what_would_grow_beyond_memory():
  image = np.zeros((1, 65_000, 3), np.uint8)
  with pytest.raises(errors.UserError, match=r'too large'):
    crops.Central(224, 224)(image)


def test_random_crops_keep_to_their_areas_and_aspects_and_cover_them():
  crop, rng = crops.RandomResized(8, 8, 0.2), np.random.default_rng(0)
  height, width = 900, 1200
  boxes = np.array([crop.box(height, width, rng) for _ in range(4000)])
  top, left, rows, columns = boxes.T
  assert top.min() >= 0 and (top + rows).max() <= height
  assert left.min() >= 0 and (left + columns).max() <= width
  areas, aspects = rows * columns / (height * width), columns / rows
  assert areas.min() > 0.199 and areas.max() <= 1
  assert aspects.min() > 0.745 and aspects.max() < 1.34
  # Areas whose crop always fits are uniform: as many in each half of them.
  small = np.mean(areas[areas < 0.5] < 0.35)
  assert abs(small - 0.5) < 0.05
  assert abs(np.mean(np.log(aspects[areas < 0.5]))) < 0.02
  centre = (left + columns / 2)[areas < 0.3]
  assert abs(centre.mean() - width / 2) < 20 and np.ptp(centre) > width / 3


def test_a_narrow_image_is_cropped_to_a_permitted_aspect():
  crop, rng = crops.RandomResized(8, 8, 1.0), np.random.default_rng(0)
  assert crop.box(100, 1000, rng) == (0, 433, 100, 133)
  assert crop.box(1000, 100, rng) == (433, 0, 133, 100)
  assert crop.box(30, 30, rng) == (0, 0, 30, 30)


def test_the_random_crop_is_the_resized_part_of_the_image(smooth):
  crop, image = crops.RandomResized(20, 20, 0.3), smooth(50, 60)
  top, left, rows, columns = crop.box(50, 60, np.random.default_rng(5))
  part = image[top : top + rows, left : left + columns]
  np.testing.assert_array_equal(
    crop(image, np.random.default_rng(5)), crops.Stretch(20, 20)(part)
  )


@pytest.mark.parametrize('size', [(20, 40), (40, 20), (30, 30), (3, 500)])
def test_padding_shows_the_whole_image_amid_grey(size):
  image = np.full((*size, 3), 200, np.uint8)
  padded = crops.Letterbox(24, 32)(image)
  assert padded.shape == (24, 32, 3)
  rows, columns = np.nonzero(padded[..., 0] == 200)
  height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
  assert len(rows) == height * width  # A rectangle, and the rest is grey.
  assert (padded == 128).all(-1).sum() == 24 * 32 - height * width
  scale = min(24 / size[0], 32 / size[1])
  assert abs(height - size[0] * scale) <= 1 and abs(width - size[1] * scale) < 1
  assert abs(rows.mean() - 11.5) <= 0.5 and abs(columns.mean() - 15.5) <= 0.5


def test_shifts_cover_every_place_alike():
  image = np.arange(32 * 32 * 3).reshape(32, 32, 3) // 12 % 256
  image = image.astype(np.uint8)
  crop, rng = crops.PadAndCrop(32, 32), np.random.default_rng(0)
  padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), 'reflect')
  windows = {
    padded[top : top + 32, left : left + 32].tobytes(): (top, left)
    for top in range(9)
    for left in range(9)
  }
  seen = [windows[crop(image, rng).tobytes()] for _ in range(2000)]
  counts = np.zeros((9, 9))
  for top, left in seen:
    counts[top, left] += 1
  assert counts.min() > 5 and counts.max() < 60  # 25 each, in the mean.


def test_a_random_part_is_of_the_squashed_image_any_place_alike(smooth):
  image = smooth(50, 90)
  whole = crops.Stretch(28, 35)(image)
  windows = {
    whole[top : top + 24, left : left + 30].tobytes(): (top, left)
    for top in range(5)
    for left in range(6)
  }
  crop, rng = crops.ResizeAndCrop(24, 30), np.random.default_rng(0)
  counts = np.zeros((5, 6))
  for _ in range(1500):
    counts[windows[crop(image, rng).tobytes()]] += 1
  assert counts.min() > 20 and counts.max() < 90  # 50 each, in the mean.


def test_shifting_keeps_the_aspect_of_a_photograph(smooth):
  image = smooth(60, 90)
  crop = crops.PadAndCrop(30, 30, padding=0)
  result = crop(image, np.random.default_rng(0))
  half = np.asarray(Image.fromarray(image).resize((45, 30), 2)).astype(int)
  distances = [
    np.abs(half[:, left : left + 30] - result).max() for left in range(16)
  ]
  assert min(distances) <= 4  # A factor of 2 exactly; Pillow antialiases.


def test_areas_and_aspects_of_random_crops_can_be_set():
  crop = crops.RandomResized(8, 8, 0.3, 0.4, min_aspect=2, max_aspect=2)
  rng = np.random.default_rng(0)
  boxes = np.array([crop.box(600, 700, rng) for _ in range(200)])
  _, _, rows, columns = boxes.T
  areas = rows * columns / (600 * 700)
  assert areas.min() > 0.297 and areas.max() < 0.403
  np.testing.assert_allclose(columns / rows, 2, atol=0.02)


@pytest.fixture
def data():
  data = schema.default().data
  data.resolution = (16, 24)
  return data


@pytest.mark.parametrize('name', crops.TRAINING)
@pytest.mark.parametrize('resize', ['auto', 'bicubic_antialiased'])
def test_every_crop_resizes_as_the_configuration_says(data, name, resize):
  data.resize = resize
  crop = crops.TRAINING[name](data, 16, 24)
  default = 'area' if name in ('central', 'letterbox') else 'bilinear'
  assert (crop.rows, crop.columns) == (16, 24)
  assert crop.method == (default if resize == 'auto' else resize)


def test_the_smallest_crop_is_that_of_the_configuration(data):
  data.min_crop_area = 0.7
  crop = crops.TRAINING['random_resized'](data, 16, 24)
  assert crop.min_area == 0.7 and crop.max_area == 1


# Affine transformations move what they should, and only so far --------------


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
  still = crops.RandomAffine(33, 33, angle=0, zoom=1, shift=0)
  image = dot(5, 9)
  np.testing.assert_array_equal(still(image, np.random.default_rng(0)), image)


def test_a_shift_moves_by_at_most_its_share():
  moved = crops.RandomAffine(33, 33, angle=0, zoom=1, shift=0.2)
  for seed in range(20):
    row, column = centre_of_mass(
      moved(dot(16, 16), np.random.default_rng(seed))
    )
    assert abs(row - 16) <= 0.2 * 33 + 0.5
    assert abs(column - 16) <= 0.2 * 33 + 0.5


def test_the_matrix_says_where_pixels_go():
  transform = crops.RandomAffine(33, 33)
  for seed in range(20):
    after = centre_of_mass(transform(dot(20, 12), np.random.default_rng(seed)))
    x, y = transform.matrix(np.random.default_rng(seed)) @ [12, 20, 1]
    np.testing.assert_allclose(after, (y, x), atol=0.3)


def test_the_centre_stays_without_a_shift():
  transform = crops.RandomAffine(8, 16, shift=0)
  matrix = transform.matrix(np.random.default_rng(0))
  np.testing.assert_allclose(matrix @ [7.5, 3.5, 1], [7.5, 3.5])


def test_zoom_is_as_often_in_as_out():
  transform = crops.RandomAffine(8, 8, angle=0, zoom=2)
  rng = np.random.default_rng(0)
  zooms = np.array([transform.matrix(rng)[0, 0] for _ in range(2000)])
  assert 0.5 <= zooms.min() < 0.52 and 1.96 < zooms.max() <= 2
  assert 0.46 < (zooms > 1).mean() < 0.54
