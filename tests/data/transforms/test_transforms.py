import io
import math
from concurrent import futures

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import transforms
from vit_jax.data.transforms import crops, decoding, randaugment


def test_half_of_the_images_are_mirrored(smooth):
  rng, image = np.random.default_rng(0), smooth(4, 6)
  results = [transforms.Flip()(image, rng) for _ in range(400)]
  mirrored = [np.array_equal(result, image[:, ::-1]) for result in results]
  same = [np.array_equal(result, image) for result in results]
  assert all(np.array(mirrored) ^ np.array(same))
  assert abs(np.mean(mirrored) - 0.5) < 4 * math.sqrt(0.25 / 400)


@pytest.fixture
def data():
  data = schema.default().data
  data.resolution = (16, 24)
  return data


def test_training_follows_the_configuration(data):
  crop = crops.RandomResized(16, 24, 0.05)
  flip = transforms.Flip()
  assert transforms.for_training(data) == (transforms.DecodeCrop(crop), flip)
  data.exif_orientation = True
  exif_orientation = transforms.DecodeCrop(crop, exif_orientation=True)
  assert transforms.for_training(data) == (exif_orientation, flip)
  data.train_crop, data.flip = 'stretch', False
  data.augmentation, data.exif_orientation = 'medium1', False
  assert transforms.for_training(data) == (
    transforms.DecodeCrop(crops.Stretch(16, 24)),
    randaugment.RandAugment(2, 15),
  )
  data.train_crop = 'strech'
  with pytest.raises(errors.UserError, match=r'train_crop.* mean stretch\?'):
    transforms.for_training(data)


def test_evaluation_follows_the_configuration(data):
  central = transforms.DecodeCrop(crops.Central(16, 24))
  assert transforms.for_evaluation(data) == (central,)
  data.eval_crop, data.exif_orientation = 'stretch', True
  squash = transforms.DecodeCrop(crops.Stretch(16, 24), exif_orientation=True)
  assert transforms.for_evaluation(data) == (squash,)
  data.eval_crop = 'centre'
  with pytest.raises(errors.UserError, match=r'eval_crop.* mean central\?'):
    transforms.for_evaluation(data)


def encode(image, format, **options):
  file = io.BytesIO()
  Image.fromarray(image).save(file, format, **options)
  return file.getvalue()


def test_transforms_apply_in_order_from_file_to_pixels(data, smooth):
  image = transforms.apply(
    transforms.for_evaluation(data), encode(smooth(30, 30), 'PNG')
  )
  np.testing.assert_array_equal(image, crops.Central(16, 24)(smooth(30, 30)))
  assert image.flags.c_contiguous


@pytest.mark.parametrize('format', ['PNG', 'JPEG'])
@pytest.mark.parametrize('size', [(40, 50), (300, 400), (1000, 1300)])
def test_a_photograph_decoded_small_gives_the_same_crop(format, size, smooth):
  file = encode(smooth(*size), format)
  crop = crops.RandomResized(32, 32, 0.05)
  for seed in range(8):
    small = transforms.DecodeCrop(crop)(file, np.random.default_rng(seed))
    whole = crop(decoding.decode(file), np.random.default_rng(seed))
    # Slow waves: averaging pixels or skipping them is nearly the same. The
    # edges of the crop are off by half a new pixel at most.
    assert np.abs(small.astype(int) - whole).max() <= 16
    assert np.abs(small.astype(int) - whole).mean() < 3


@pytest.mark.parametrize(
  'size, shrink',
  [
    ((31, 90), 1),
    ((32, 24), 1),
    ((32, 48), 2),
    ((127, 999), 4),
    ((128, 192), 8),
  ],
)
def test_no_more_is_decoded_than_the_crop_needs(size, shrink):
  decode = transforms.DecodeCrop(crops.RandomResized(16, 24, 0.05))
  assert decode._shrink(*size) == shrink


def test_a_jpeg_that_pillow_must_read_is_cropped_whole(monkeypatch, smooth):
  file = encode(smooth(300, 400), 'JPEG', quality=95)
  stray = file[:-2] + b'stray' + file[-2:]  # TurboJPEG refuses it.
  transform = transforms.DecodeCrop(crops.RandomResized(16, 16, 0.5))
  whole = transform.crop(decoding.decode(file), np.random.default_rng(3))
  image = transform(stray, np.random.default_rng(3))
  # Pillow decodes by another inverse transform.
  assert np.abs(image.astype(int) - whole).max() <= 6


@pytest.mark.parametrize('format', ['PNG', 'JPEG'])
@pytest.mark.parametrize(
  'crop',
  [
    crops.Stretch(20, 30),
    crops.Central(20, 30, scale=1),
    crops.RandomResized(20, 30, 1.0, min_aspect=1.5, max_aspect=1.5),
    crops.Stretch(10, 10),
  ],
)
def test_an_image_is_still_itself_after_the_next_is_decoded(
  crop, format, smooth
):
  """Also where the crop is the whole image, of which nothing is resized."""
  transform, rng = transforms.DecodeCrop(crop), np.random.default_rng(0)
  one = transform(encode(smooth(20, 30), format), rng)
  before = one.copy()
  transform(encode(255 - smooth(20, 30), format), rng)
  np.testing.assert_array_equal(one, before)


def test_threads_do_not_decode_into_each_other(data):
  data.resolution = (20, 30)
  chain = transforms.for_training(data)
  files = [
    encode(np.full((40, 60, 3), i * 10, np.uint8), 'JPEG') for i in range(25)
  ]

  def mean(number):
    image = transforms.apply(
      chain, files[number % 25], np.random.default_rng(number)
    )
    return image.mean() / 10

  with futures.ThreadPoolExecutor(8) as pool:
    means = list(pool.map(mean, range(1000)))
  np.testing.assert_allclose(means, np.arange(1000) % 25, atol=0.2)


def test_a_huge_jpeg_is_refused_before_it_is_decoded(data, monkeypatch, smooth):
  monkeypatch.setattr(decoding.simplejpeg, 'decode_jpeg', None)
  transform = transforms.DecodeCrop(crops.RandomResized(4, 4, 0.5), False, 99)
  with pytest.raises(errors.UserError, match=r'10 x 10 pixels is too large'):
    transform(encode(smooth(10, 10), 'JPEG'), np.random.default_rng(0))
