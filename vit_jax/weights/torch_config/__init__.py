"""The JSON files beside PyTorch's weights: of transformers and of timm.

They say what the weights alone do not: the GELU, LayerNorm's epsilon, the
number of heads, what classes are called, and how images are prepared.
"""

from vit_jax.weights.torch_config import huggingface, timm

# Each reads (`read`), writes (`files`) and says what it can't (`untold`).
PROJECTS = {'huggingface': huggingface, 'timm': timm}


def read(folder, format_name):
  """Returns the `told.Told` of the files in a folder; defaults without them.

  Raises:
    UserError: they are none of the project's, or say what can't be computed.
  """
  return PROJECTS[format_name].read(folder)


def files(format_name, card, sizes):
  """Returns {name: content} of the files that go with weights.

  Args:
    format_name: a key of `PROJECTS`.
    card: a `card.Card` with an image size.
    sizes: the `publishing.Sizes` of the model.

  Raises:
    UserError: the project has no such model.
  """
  return PROJECTS[format_name].files(card, sizes)


def untold(format_name, card):
  """Returns sentences: what of the card these files can not say."""
  return PROJECTS[format_name].untold(card)
