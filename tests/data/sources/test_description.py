import cv2
import numpy as np
import pytest

from vit_jax.config import schema
from vit_jax.data import sources
from vit_jax.data.sources import arrays, mixture, subset, synthetic


def array(*labels, names=None, num_classes=None):
  images = np.zeros((len(labels), 4, 4), np.uint8)
  return arrays.ArraySource(images, np.array(labels), names, num_classes)


def test_images_and_classes_are_counted():
  source = synthetic.SyntheticSource(2310, 12, 4, 4, 'train')
  other = synthetic.SyntheticSource(411, 12, 4, 4, 'test')
  assert sources.describe(('train', 'test'), (source, other)) == [
    '2,310 images of 12 classes (train), 411 (test)'
  ]


@pytest.mark.parametrize(
  'labels, names, line',
  [
    ([0, 0], None, 'there is one class only: nothing can be told apart'),
    ([0, 2, 3], None, '1 class without training images: 1'),
    ([2], ('a', 'b', 'c'), '2 classes without training images: a, b'),
    ([0, 1], ('a', 'A'), 'the classes a and A differ in upper and lower case '),
  ],
)
def test_odd_classes_are_told_once(labels, names, line):
  source = array(*labels, names=names)
  lines = sources.describe(('a', 'b'), (source, source))
  assert sum(each.startswith(line) for each in lines) == 1


def test_images_without_labels_are_counted():
  told = sources.describe(
    ('a', 'b'), (array(0, 1, -1), array(-1, -1, num_classes=2))
  )
  assert told == [
    '3 images of 2 classes (a), 1 of them without a label, 2 (b), 2 of them '
    'without a label'
  ]
  assert sources.describe(('a', 'b'), (array(-1), array(-1))) == [
    '1 images without labels (a), 1 (b), 1 of them without a label'
  ]


@pytest.fixture
def folder(tmp_path):
  """Returns a function that builds the source of images of one kind."""

  def build(extension, *images):
    for i, image in enumerate(images):
      path = tmp_path / f'train/{i % 2}/{i}{extension}'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(cv2.imencode(extension, image)[1].tobytes())
    data = schema.default().data
    data.source, data.dataset = 'folder', str(tmp_path)
    data.eval_split = 'train'
    return sources.build(data, 'train')

  return build


GREY = (np.arange(64).reshape(8, 8) * 64).astype(np.uint16)  # 12 bits
COLOUR = np.stack([GREY, GREY // 2, GREY // 4], -1)


@pytest.mark.parametrize('extension', ['.png', '.tiff'])
@pytest.mark.parametrize('image', [GREY, COLOUR], ids=['grey', 'colour'])
def test_images_of_a_12_bit_sensor_are_told(folder, extension, image):
  source = folder(extension, image, image // 2)
  (line,) = sources.describe(('train',), (source,))[1:]
  assert 'train have 16 bits and use the lower 12' in line
  assert 'multiply their values by 16' in line
  for whole in mixture.join([source], [1]), subset.Subset(source, [1, 0]):
    assert line in sources.describe(('train',), (whole,))


@pytest.mark.parametrize(
  'images',
  [(GREY, GREY * 16), (GREY.astype(np.uint8),) * 2, (GREY * 8, GREY * 8)],
)
def test_other_images_are_not(folder, images):
  assert len(sources.describe(('train',), (folder('.png', *images),))) == 1


def test_a_broken_image_is_told_when_it_is_read(folder, tmp_path):
  source = folder('.png', GREY, GREY * 16, GREY)
  (tmp_path / 'train/0/0.png').write_bytes(b'\x89PNG broken')
  (tmp_path / 'train/1/1.png').unlink()
  assert len(sources.describe(('train',), (source,))) == 2


def test_what_parts_of_a_mixture_leave_out_is_counted(folder, tmp_path):
  (tmp_path / 'train/0').mkdir(parents=True)
  (tmp_path / 'train/0/a.txt').touch()
  source = folder('.png', *(GREY.astype(np.uint8),) * 2)
  mixed = mixture.join([source, source], [1, 2])
  assert sources.describe(('train',), (mixed,)) == [
    '4 images of 2 classes (train); left out: 1 file (.txt: 1)'
  ]
