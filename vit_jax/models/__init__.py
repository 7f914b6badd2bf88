"""Models by the names that papers give them."""

import re

from vit_jax import errors
from vit_jax.models import vit

# A pattern for names, what builds a model of such a name, and the names that
# papers use; a ViT may have any other patch size.
FAMILIES = (
  (r'ViT-\w+/\d+', vit.build, vit.NAMES),
)  # fmt: skip

NAMES = tuple(name for _, _, names in FAMILIES for name in names)


def build(model, num_classes):
  """Returns the linen module that `model.name` and its fields describe.

  Args:
    model: the configuration's part for the model.
    num_classes: number of outputs of the head; 0: no head.

  Raises:
    UserError: no such model, or fields that the model does not have.
  """
  for pattern, build_family, _ in FAMILIES:
    if re.fullmatch(pattern, model.name):
      return build_family(model, num_classes)
  raise errors.UserError(
    f'model.name={model.name!r} is unknown. {errors.nearest(model.name, NAMES)}'
  )
