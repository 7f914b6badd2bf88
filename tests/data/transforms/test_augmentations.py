import numpy as np
import pytest

from vit_jax import errors
from vit_jax.data.transforms import augmentations, color, randaugment


def test_settings_of_augreg_are_those_of_its_figure():
  assert augmentations.get('none') == ((), 0.0)
  assert augmentations.get('light1') == ((randaugment.RandAugment(2, 0),), 0.0)
  assert augmentations.get('medium2') == (
    (randaugment.RandAugment(2, 15),),
    0.5,
  )
  assert augmentations.get('strong2') == (
    (randaugment.RandAugment(2, 20),),
    0.8,
  )
  assert augmentations.get('three_augment').transforms == color.THREE_AUGMENT


@pytest.mark.parametrize('name', augmentations.AUGMENTATIONS)
def test_every_augmentation_keeps_shape_and_type(name):
  image = np.random.default_rng(0).integers(0, 256, (33, 17, 3), np.uint8)
  rng = np.random.default_rng(0)
  for _ in range(30):
    result = image
    for transform in augmentations.get(name).transforms:
      result = transform(result, rng)
    assert result.shape == image.shape and result.dtype == np.uint8


def test_an_unknown_augmentation_names_the_nearest():
  with pytest.raises(errors.UserError, match=r'augmentation=.* mean medium'):
    augmentations.get('medium')
