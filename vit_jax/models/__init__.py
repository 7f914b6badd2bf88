"""Models by the names that papers give them."""

import re

from vit_jax import errors
from vit_jax.models import hybrid, mixer, resnet, vit
from vit_jax.nn import (
  attention_kernels,
  encoder,
  layer_stack,
  mlp,
  position_embedding,
)

DTYPES = ('float32', 'bfloat16')  # Of activations.

# A pattern for names, what builds a model of such a name, and the names that
# papers use; a ViT may have any other patch size, a BiT any other width.
FAMILIES = (
  (r'ViT-\w+/[1-9]\d*', vit.build, vit.NAMES),
  (r'R\d*\+ViT-\w+/\d+', hybrid.build, hybrid.NAMES),
  (r'BiT-R\d+x[1-9]\d*', resnet.build, resnet.NAMES),
  (r'Mixer-\w+/[1-9]\d*', mixer.build, mixer.NAMES),
)

# {field: table of what can be chosen, by name}.
CHOICES = {
  'model.pooling': vit.POOLINGS,
  'model.head': vit.HEADS,
  'model.position_embedding': position_embedding.POSITION_EMBEDDINGS,
  'model.position_placement': encoder.POSITION_PLACEMENTS,
  'model.gelu': mlp.GELU,
  'model.dtype': DTYPES,
  'model.attention': attention_kernels.CHOICES,
  'model.remat': layer_stack.REMAT,
}

NAMES = tuple(name for _, _, names in FAMILIES for name in names)


def build(model, num_classes, constrain=lambda x: x):
  """Returns the linen module that `model.name` and its fields describe.

  Args:
    model: the configuration's part for the model.
    num_classes: number of outputs of the head; 0: no head.
    constrain: maps activations between layers, [batch, ...], to the same under
      a sharding constraint; by default there is none.

  Raises:
    UserError: no such model, or fields that the model does not have.
  """
  for pattern, build_family, _ in FAMILIES:
    if re.fullmatch(pattern, model.name):
      return build_family(model, num_classes, constrain)
  raise errors.UserError(
    f'model.name={model.name!r} is unknown. {errors.nearest(model.name, NAMES)}'
  )
