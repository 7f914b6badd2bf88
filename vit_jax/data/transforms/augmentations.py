"""Augmentations by name: the transforms after crop and flip, and mixup."""

from typing import NamedTuple

from vit_jax import errors, plugins
from vit_jax.data.transforms import color, randaugment


class Augmentation(NamedTuple):
  """A row of the table."""

  transforms: tuple = ()  # On the host, of each image.
  mixup: float = 0.0  # On the device; alpha of the beta distribution.


# Steiner et al. (2022, AugReg), section 3: layers and magnitude of RandAugment,
# then alpha of mixup. (2, 0) still changes every image.
AUGREG = {
  'none': (0, 0, 0.0),
  'light1': (2, 0, 0.0),
  'light2': (2, 10, 0.2),
  'medium1': (2, 15, 0.2),
  'medium2': (2, 15, 0.5),
  'strong1': (2, 20, 0.5),
  'strong2': (2, 20, 0.8),
}


def _augreg(layers, magnitude, mixup):
  chain = (randaugment.RandAugment(layers, magnitude),) if layers else ()
  return Augmentation(chain, mixup)


AUGMENTATIONS = plugins.Registry(
  'augmentation',
  {
    **{name: _augreg(*row) for name, row in AUGREG.items()},
    'three_augment': Augmentation(color.THREE_AUGMENT),
  },
)


def get(name):
  """Returns the `Augmentation` called so.

  Raises:
    UserError: there is none.
  """
  return errors.choose('data.augmentation', name, AUGMENTATIONS)
