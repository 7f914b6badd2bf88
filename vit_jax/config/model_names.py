"""Names of models, parsed once: what the papers' names say.

ViT-B/16, R50+ViT-L/32, BiT-R50x1, Mixer-B/16: what stands before a Transformer,
the family, the size, how many times a ResNet is widened, pixels per patch.
"""

import dataclasses
import re

MAX_LENGTH = 100

_NAME = re.compile(
  r'((?P<backbone>R[0-9]*)\+)?(?P<family>[A-Za-z]\w*)-(?P<size>\w+?)'
  r'(x(?P<widening>[1-9][0-9]{0,3}))?(/(?P<patch>[1-9][0-9]{0,3}))?'
)


@dataclasses.dataclass(frozen=True)
class ModelName:
  """What a name says; None for a part that it has not.

  Attributes:
    family: ViT of R50+ViT-B/16.
    size: B of ViT-B/16, R50 of BiT-R50x1.
    backbone: R50 of R50+ViT-B/16.
    widening: 1 of BiT-R50x1.
    patch: 16 of ViT-B/16, as it is written.
  """

  family: str
  size: str
  backbone: str | None = None
  widening: int | None = None
  patch: int | None = None

  @property
  def form(self):
    """What names of one family of models have in common."""
    parts = (self.backbone, self.widening, self.patch)
    return self.family, *(part is not None for part in parts)

  @property
  def patch_size(self):
    """Pixels that one token spans; None: the model has no tokens."""
    if self.backbone == 'R' and self.patch:
      return 2 * self.patch  # Patches of 8 x 8 where 4 pixels are one.
    return self.patch


def parse(name):
  """Returns the `ModelName`, or None for what is not a name of a model."""
  match = len(name) <= MAX_LENGTH and _NAME.fullmatch(name)
  if not match:
    return None
  numbers = {
    part: match[part] and int(match[part]) for part in ('widening', 'patch')
  }
  return ModelName(match['family'], match['size'], match['backbone'], **numbers)


def patch_size(name):
  """Returns the pixels that one token spans, or None: no tokens, no name."""
  parsed = parse(name)
  return parsed.patch_size if parsed else None


def of_variant(variant):
  """Returns the name that recipes and tables abbreviate; a whole one stays.

  B/16 is ViT-B/16, R50+L/32 is R50+ViT-L/32, and R50x1 is BiT-R50x1.
  """
  if '-' in variant:
    return variant
  if re.fullmatch(r'R[0-9]+x[0-9]+', variant):
    return f'BiT-{variant}'
  backbone, plus, size = variant.rpartition('+')
  return f'{backbone}{plus}ViT-{size}'


def of_file(file):
  """Returns the model of a released file: ViT-B/16 of ViT-B_16."""
  return re.sub(r'_(\d+)$', r'/\1', file)


def to_file(name):
  """Returns what the released file of a model is called; undoes `of_file`."""
  return name.replace('/', '_')
