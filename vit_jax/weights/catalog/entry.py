"""What is known of a released file: a row of the catalogue."""

import dataclasses
import functools

from vit_jax.weights.catalog import sizes

CENTRAL = 8 / 7  # 256 pixels, of which 224 are taken; 448 and 384 alike.


@dataclasses.dataclass(frozen=True)
class Entry:
  """A row of the catalogue.

  Attributes:
    name: how the user calls it.
    address: URL, gs:// too; behind the file, ':img' names the part that counts.
    model: as the configuration names it; None: inferred from the file.
    format: a key of `formats.FORMATS`.
    resolution: side of the images in pixels.
    num_classes: outputs of the head; 0: there is none.
    fields: what the configuration's part `model` says beside the name.
    scale: the image covers this many times `resolution`, of which the centre
      is taken.
    accuracy: top-1 on ImageNet's validation set in per cent, or None.
    note: what to know; a line, or ''.
    position_resize: how its authors resized position embeddings, a key of
      `resizing.METHODS`; None: as all do who read the format.
    flexible: whether patches may be resized to those of `model`; the file has
      those of 32 pixels, and positions for 224.
    copies: how many arrays of each parameter the file holds, as Adam's moments.
    total: parameters of a file that holds more than `model`; None: unknown.
  """

  name: str
  address: str
  model: str | None
  format: str
  resolution: int = 224
  num_classes: int = 1000
  fields: tuple[tuple[str, str], ...] = ()
  scale: float = CENTRAL
  accuracy: float | None = None
  note: str = ''
  position_resize: str | None = None
  flexible: bool = False
  copies: int = 1
  total: int | None = None

  @property
  def num_parameters(self):
    """Of all that the file holds; None: unknown."""
    if self.name in sizes.NUM_PARAMETERS:
      return sizes.NUM_PARAMETERS[self.name]
    if self.model is None or self.address.endswith(':img'):
      return self.total
    model, resolution = self.model, self.resolution
    if self.flexible:
      family_and_size, _, _ = model.partition('/')
      model, resolution = f'{family_and_size}/32', 224
    return self.copies * _count(
      model, self.format, resolution, self.num_classes, self.fields
    )

  @property
  def num_bytes(self):
    """Size of the file but for the names and headers in it; None: unknown."""
    count = self.num_parameters
    return count and 4 * count


@functools.cache
def _count(model, format_name, resolution, num_classes, fields):
  """Returns how many parameters a file has, from the model's shapes alone."""
  # To look a name up or to complete one, nobody should wait for JAX.
  import jax

  from vit_jax import models, pytrees
  from vit_jax.config import schema
  from vit_jax.weights import formats, mapping

  config = schema.default().model
  config.update(name=model, **dict(fields))
  if 'scan' in models.family(model).fields:
    config.scan = True  # Traced once for all layers.
  module = models.build(config, num_classes)
  shapes = models.params_of(module, (resolution, resolution))

  def write(params):
    flat = pytrees.flatten(pytrees.unstack(params))
    rows = formats.writer(model, format_name).rows(flat)
    return mapping.to_theirs(flat, rows)

  return sum(leaf.size for leaf in jax.eval_shape(write, shapes).values())
