import io
import math

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors, experiment
from vit_jax.data import transforms


def smooth(rows, columns):
  """An image of slow waves, uint8 [rows, columns, 3]."""
  row, column = np.mgrid[:rows, :columns]
  waves = [
    np.sin(row / rows * 7 + phase) * np.cos(column / columns * 5 - phase)
    for phase in range(3)
  ]
  return np.rint(127.5 + 127 * np.stack(waves, -1)).astype(np.uint8)


def bilinear(image, rows, columns):
  """Bilinear resize with half-pixel centres and without antialiasing."""
  for axis, size in enumerate((rows, columns)):
    length = image.shape[axis]
    centre = (np.arange(size) + 0.5) * length / size - 0.5
    centre = np.clip(centre, 0, length - 1)
    lower = np.floor(centre).astype(int)
    upper = np.minimum(lower + 1, length - 1)
    weight = (centre - lower).reshape(
      [-1 if i == axis else 1 for i in range(3)]
    )
    image = (
      image.take(lower, axis) * (1 - weight) + image.take(upper, axis) * weight
    )
  return image


@pytest.mark.parametrize('rows, columns', [(17, 90), (64, 48), (7, 5)])
def test_resize_is_bilinear_without_antialiasing(rows, columns):
  image = np.random.default_rng(0).integers(0, 256, (40, 61, 3), np.uint8)
  resized = transforms.Resize(rows, columns)(image)
  assert resized.shape == (rows, columns, 3) and resized.dtype == np.uint8
  # OpenCV computes uint8 with weights of 11 bits.
  assert np.abs(resized - bilinear(image, rows, columns)).max() <= 1


def test_resize_agrees_with_pillow_where_the_image_grows():
  image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
  wanted = Image.fromarray(image).resize((62, 50), Image.Resampling.BILINEAR)
  resized = transforms.Resize(50, 62)(image)
  assert np.abs(resized.astype(int) - np.asarray(wanted)).max() <= 1


@pytest.mark.parametrize(
  'size, target',
  [((300, 400), (112, 112)), ((400, 290), (64, 96)), ((60, 50), (112, 84))],
)
def test_central_crop_agrees_with_pillow(size, target):
  image = smooth(*size)
  scale = 8 / 7 * max(target[0] / size[0], target[1] / size[1])
  rows, columns = (round(side * scale) for side in size)
  filter = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
  resized = np.asarray(Image.fromarray(image).resize((columns, rows), filter))
  top, left = (rows - target[0]) // 2, (columns - target[1]) // 2
  wanted = resized[top : top + target[0], left : left + target[1]]
  crop = transforms.CentralCrop(*target)(image)
  assert crop.shape == (*target, 3)
  # Pillow's box takes whole pixels, OpenCV's area shares of them.
  assert np.abs(crop.astype(int) - wanted).max() <= 4


def test_central_crop_of_256_pixels_is_the_middle_224():
  image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
  crop = transforms.CentralCrop(224, 224)(image)
  np.testing.assert_array_equal(crop, image[16:240, 16:240])


def test_central_crop_averages_all_pixels_it_shrinks():
  noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
  crop = transforms.CentralCrop(56, 56)(noise)  # 8 x 8 pixels become one.
  assert abs(crop.std() - noise.std() / 8) < 0.5
  assert transforms.Resize(56, 56)(noise).std() > noise.std() / 3


@pytest.mark.parametrize('size', [(1, 1), (2, 500), (500, 3), (7, 7)])
@pytest.mark.parametrize('target', [(16, 16), (8, 24)])
def test_any_image_becomes_any_size(size, target):
  image, rng = smooth(*size), np.random.default_rng(0)
  for transform in (
    transforms.Resize(*target),
    transforms.CentralCrop(*target),
    transforms.RandomResizedCrop(*target, 0.05),
  ):
    result = transform(image, rng)
    assert result.shape == (*target, 3) and result.dtype == np.uint8


def test_central_crop_refuses_what_would_grow_beyond_memory():
  image = np.zeros((1, 65_000, 3), np.uint8)
  with pytest.raises(errors.UserError, match=r'too large'):
    transforms.CentralCrop(224, 224)(image)


def test_random_crops_keep_to_their_areas_and_aspects_and_cover_them():
  crop, rng = transforms.RandomResizedCrop(8, 8, 0.2), np.random.default_rng(0)
  height, width = 900, 1200
  boxes = np.array([crop._box(height, width, rng) for _ in range(4000)])
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
  crop, rng = transforms.RandomResizedCrop(8, 8, 1.0), np.random.default_rng(0)
  assert crop._box(100, 1000, rng) == (0, 433, 100, 133)
  assert crop._box(1000, 100, rng) == (433, 0, 133, 100)
  assert crop._box(30, 30, rng) == (0, 0, 30, 30)


def test_the_random_crop_is_the_resized_part_of_the_image():
  crop, image = transforms.RandomResizedCrop(20, 20, 0.3), smooth(50, 60)
  top, left, rows, columns = crop._box(50, 60, np.random.default_rng(5))
  part = image[top : top + rows, left : left + columns]
  np.testing.assert_array_equal(
    crop(image, np.random.default_rng(5)), transforms.Resize(20, 20)(part)
  )


def test_half_of_the_images_are_mirrored():
  rng, image = np.random.default_rng(0), smooth(4, 6)
  results = [transforms.Flip()(image, rng) for _ in range(400)]
  mirrored = [np.array_equal(result, image[:, ::-1]) for result in results]
  same = [np.array_equal(result, image) for result in results]
  assert all(np.array(mirrored) ^ np.array(same))
  assert abs(np.mean(mirrored) - 0.5) < 4 * math.sqrt(0.25 / 400)


@pytest.fixture
def data():
  data = experiment.default().data
  data.resolution = (16, 24)
  return data


def test_training_follows_the_configuration(data):
  assert transforms.for_training(data) == (
    transforms.Decode(),
    transforms.RandomResizedCrop(16, 24, 0.05),
    transforms.Flip(),
  )
  data.train_crop, data.flip = 'squash', False
  assert transforms.for_training(data) == (
    transforms.Decode(),
    transforms.Resize(16, 24),
  )
  data.train_crop = 'squish'
  with pytest.raises(errors.UserError, match=r'train_crop.* mean squash\?'):
    transforms.for_training(data)


def test_evaluation_follows_the_configuration(data):
  central = transforms.CentralCrop(16, 24)
  assert transforms.for_evaluation(data) == (transforms.Decode(), central)
  data.eval_crop = 'squash'
  resize = transforms.Resize(16, 24)
  assert transforms.for_evaluation(data) == (transforms.Decode(), resize)
  data.eval_crop = 'centre'
  with pytest.raises(errors.UserError, match=r'eval_crop.* mean central\?'):
    transforms.for_evaluation(data)


def test_every_choice_of_the_configuration_has_a_crop():
  choices = experiment.CHOICES
  assert set(transforms.TRAIN_CROPS) == set(choices['data.train_crop'])
  assert set(transforms.EVAL_CROPS) == set(choices['data.eval_crop'])


def test_transforms_apply_in_order_from_file_to_pixels(data):
  file = io.BytesIO()
  Image.fromarray(smooth(30, 30)).save(file, 'PNG')
  image = transforms.apply(transforms.for_evaluation(data), file.getvalue())
  np.testing.assert_array_equal(
    image, transforms.CentralCrop(16, 24)(smooth(30, 30))
  )
  assert image.flags.c_contiguous
