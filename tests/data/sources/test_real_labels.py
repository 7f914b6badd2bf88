import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import pipeline, sources
from vit_jax.data.sources import real_labels, subset

# Out of order, as TFDS shuffles what it prepares.
NUMBERS = (3, 1, 4, 2)


def file_name(number):
  return f'ILSVRC2012_val_{number:08d}.JPEG'


def png(value):
  file = io.BytesIO()
  Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(file, 'PNG')
  file.seek(0)
  return file


class NamedImages(tfds.core.GeneratorBasedBuilder):
  """As imagenet2012: images, labels and names of files."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      description='Images with names.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(4, 4, 3), encoding_format='png'),
          'label': tfds.features.ClassLabel(num_classes=1000),
          'file_name': tfds.features.Text(),
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {'validation': self._generate_examples()}

  def _generate_examples(self):
    for index, number in enumerate(NUMBERS):
      yield (
        index,
        {'image': png(number), 'label': 7, 'file_name': file_name(number)},
      )


@pytest.fixture
def data(tmp_path, monkeypatch):
  tfds.disable_progress_bar()
  monkeypatch.setattr(real_labels, 'DATASETS', ('named_images',))
  data = schema.default().data
  data.dataset, data.data_dir = 'named_images', str(tmp_path)
  data.resolution, data.eval_crop = (4,), 'stretch'
  return data


@pytest.fixture
def folder_data(tmp_path):
  for number in NUMBERS:
    path = tmp_path / 'photos/validation' / f'n{number % 2}' / file_name(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(number).read())
  data = schema.default().data
  data.source, data.dataset = 'folder', str(tmp_path / 'photos')
  data.resolution, data.eval_crop = (4,), 'stretch'
  return data


@pytest.mark.parametrize('kind', ['data', 'folder_data'])
def test_the_label_is_the_number_in_the_name_of_the_file(kind, request):
  data = request.getfixturevalue(kind)
  source = real_labels.build(data, 'validation', 50_000)
  (batch,) = pipeline.eval_batches(source, data, batch_size=4)
  # The image's pixels tell its number, which counts from 1.
  np.testing.assert_array_equal(batch['label'], batch['image'][:, 0, 0, 0] - 1)
  assert sorted(batch['label']) == [0, 1, 2, 3]
  assert source.num_classes == 50_000
  np.testing.assert_array_equal(subset.labels(source), batch['label'])


def test_the_ordinary_labels_stay_as_they_are(data):
  real_labels.build(data, 'validation', 50_000)
  source = sources.build(data, 'validation')
  assert source[0]['label'] == 7


def test_a_number_is_read_from_a_name():
  for name in file_name(12), f'a/b/{file_name(12)}', file_name(12).encode():
    assert real_labels.number(name) == 11
  for name in 'photo.jpg', 'ILSVRC2012_val_12.JPEG', 'ILSVRC2012_val_00000012':
    with pytest.raises(errors.UserError, match='no validation image'):
      real_labels.number(name)


def test_more_images_than_labels_are_refused(folder_data):
  with pytest.raises(errors.UserError, match=r'00000004.*are 3 lists'):
    real_labels.build(folder_data, 'validation', 3)


def test_data_that_tell_no_names_are_refused(data):
  data.dataset = 'digits'
  with pytest.raises(errors.UserError, match=r'which digits does not have'):
    real_labels.build(data, 'test', 50_000)


def test_lists_become_a_table(tmp_path):
  path = tmp_path / 'real.json'
  path.write_text(json.dumps([[5], [], [999, 0, 3]]))
  table = real_labels.read(path)
  assert table.dtype == np.int32
  assert table.tolist() == [[5, -1, -1], [-1, -1, -1], [999, 0, 3]]


@pytest.mark.parametrize(
  'text', ['', '{}', '[]', '[[]]', '[[1000]]', '[[-1]]', '[3]', '[["a"]]']
)
def test_another_file_is_refused(tmp_path, text):
  path = tmp_path / 'real.json'
  path.write_text(text)
  with pytest.raises(errors.UserError, match=r'real\.json is not a list of'):
    real_labels.read(path)
