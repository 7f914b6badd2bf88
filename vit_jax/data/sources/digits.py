"""The handwritten digits that ship with scikit-learn, as a TFDS data set.

1,797 images of 8 x 8 pixels: the test part of Alpaydin & Kaynak's `Optical
Recognition of Handwritten Digits` (UCI, 1998). It needs no download, is small
enough to learn on a laptop, and uses the same code path as ImageNet.
"""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

NUM_TRAIN = 1437  # The last fifth, by other writers, is for testing.


class Digits(tfds.core.GeneratorBasedBuilder):
  """Splits `train` and `test`, in the original order; labels 0 to 9."""

  name = 'digits'
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      description='1,797 handwritten digits of 8 x 8 pixels.',
      homepage='https://archive.ics.uci.edu/dataset/80',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(8, 8, 3), encoding_format='png'),
          'label': tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=('image', 'label'),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    # Loading scikit-learn takes a second, which only preparing should cost.
    from sklearn import datasets

    data = datasets.load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)
    examples = list(zip(pixels, data.target.tolist()))
    return {
      'train': self._generate_examples(examples[:NUM_TRAIN]),
      'test': self._generate_examples(examples[NUM_TRAIN:]),
    }

  def _generate_examples(self, examples):
    for index, (pixels, label) in enumerate(examples):
      # TFDS stores a file unchanged; to encode an array it needs TensorFlow.
      file = io.BytesIO()
      Image.fromarray(pixels).convert('RGB').save(file, 'PNG')
      file.seek(0)
      yield index, {'image': file, 'label': label}
