"""What is known of a released file: a row of the catalogue."""

import dataclasses
import re

CENTRAL = 8 / 7  # 256 pixels, of which 224 are taken; 448 and 384 alike.


@dataclasses.dataclass(frozen=True)
class Entry:
  """A row of the catalogue.

  Attributes:
    name: how the user calls it.
    address: URL, gs:// too; behind the file, ':img' names the part that counts.
    model: as the configuration names it.
    format: a key of `formats.FORMATS`.
    resolution: side of the images in pixels.
    num_classes: outputs of the head; 0: there is none.
    num_parameters: of all that the file holds; None: unknown.
    scale: the image covers this many times `resolution`, of which the centre
      is taken.
    accuracy: top-1 on ImageNet's validation set in per cent, or None.
    note: what to know; a line, or ''.
    position_resize: how its authors resized position embeddings, a key of
      `resizing.METHODS`; None: as all do who read the format.
    flexible: whether patches may be resized to those of `model`.
  """

  name: str
  address: str
  model: str
  format: str
  resolution: int = 224
  num_classes: int = 1000
  num_parameters: int | None = None
  scale: float = CENTRAL
  accuracy: float | None = None
  note: str = ''
  position_resize: str | None = None
  flexible: bool = False

  @property
  def num_bytes(self):
    """Size of the file but for the names and headers in it; None: unknown."""
    return self.num_parameters and 4 * self.num_parameters


# Parameters at 224 pixels with a class token and 1,000 classes, width before
# the head, pixels per token (None: any grid has the same parameters).
_MODELS = {
  'ViT-Ti/16': (5_717_416, 192, 16),
  'ViT-S/16': (22_050_664, 384, 16),
  'ViT-S/32': (22_878_952, 384, 32),
  'ViT-B/8': (86_576_872, 768, 8),
  'ViT-B/16': (86_567_656, 768, 16),
  'ViT-B/30': (87_938_536, 768, 30),
  'ViT-B/32': (88_224_232, 768, 32),
  'ViT-L/16': (304_326_632, 1024, 16),
  'ViT-L/32': (306_535_400, 1024, 32),
  'ViT-H/14': (632_045_800, 1280, 14),
  'R+ViT-Ti/16': (6_337_704, 192, 32),
  'R26+ViT-S/32': (36_431_912, 384, 32),
  'R26+ViT-B/32': (101_383_976, 768, 32),
  'R50+ViT-B/16': (98_659_112, 768, 16),
  'R50+ViT-L/32': (328_994_856, 1024, 32),
  'Mixer-S/8': (20_646_504, 512, None),
  'Mixer-S/16': (18_528_264, 512, None),
  'Mixer-S/32': (19_104_624, 512, None),
  'Mixer-B/16': (59_880_472, 768, None),
  'Mixer-B/32': (60_293_428, 768, None),
  'Mixer-L/16': (208_196_168, 1024, None),
  'BiT-R50x1': (25_549_352, 2048, None),
  'BiT-R50x3': (217_319_080, 6144, None),
  'BiT-R101x1': (44_541_480, 2048, None),
  'BiT-R101x3': (387_934_888, 6144, None),
  'BiT-R152x2': (236_335_208, 4096, None),
  'BiT-R152x4': (936_533_224, 8192, None),
}


def num_parameters(
  model, resolution=224, num_classes=1000, extra_rows=2, hidden=False
):
  """Returns how many parameters a file of a model has.

  Args:
    model: a key of the table above.
    resolution: side of the images in pixels.
    num_classes: outputs of the head.
    extra_rows: vectors of the model's width beside the position embedding of
      each patch: the class token, and its own position embedding.
    hidden: whether there is a tanh layer before the head.
  """
  count, width, pixels = _MODELS[model]
  if pixels:
    patches = (resolution // pixels) ** 2 - (224 // pixels) ** 2
    count += (patches + extra_rows - 2) * width
  count += (num_classes - 1000) * (width + 1)
  return count + hidden * (width**2 + width)


def name_of_model(file):
  """Returns the model of a file that is called as it: ViT-B/16 of ViT-B_16."""
  return re.sub(r'_(\d+)$', r'/\1', file)
