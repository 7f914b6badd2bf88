"""Models by the names that papers give them.

All that differs between families of models is a field of `Family`, so that
nobody else asks for a name; docs/add_a_model.md explains how to add one.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vit_jax import errors, plugins
from vit_jax.config import model_names, schema
from vit_jax.models import hybrid, mixer, parameter_counts, resnet, vit
from vit_jax.nn import (
  attention_kernels,
  encoder,
  layer_stack,
  mlp,
  position_embedding,
  weight_standardization,
)

DTYPES = ('float32', 'bfloat16')  # Of activations.


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


@dataclasses.dataclass(frozen=True)
class Family:
  """A family of models: how it is built and recognised, has and lacks.

  Attributes:
    title: what a sentence calls one of it, behind 'a'.
    names: those that papers use. Every name of their form is of the family: a
      ViT may have any other patch size, a BiT any other width.
    sizes: {size in a name: its numbers}.
    build: (the configuration's part `model`, num_classes, constrain) -> linen
      module; its `attention` is the name of a `attention_kernels.Choice`.
    fields: those of the configuration's part `model` that it reads; all others
      have to be left as they are.
    signs: paths of parameters that tell it from the families further down the
      table.
    infer_config: ({path: shape}, name or None, num_heads or None) ->
      ({field: value} of `model`, (rows, columns) in pixels or None: any).
    measure: {path: shape} -> its numbers, like those of `sizes`; None: they are
      no width and depth.
    pixel_kernel: path of the kernel that reads the pixels.
    as_applied: maps that kernel to what the pixels meet.
    choose_attention: (`model`, platform) -> `attention_kernels.Choice`; None:
      it has no attention.
    embeds_patches: whether its module embeds patches one by one and takes
      `corrupt`, as `vit.ViT` does.
    varies: what of a name may be another number or word, in a few words.
  """

  title: str
  names: tuple[str, ...]
  sizes: dict
  build: Callable
  fields: tuple[str, ...]
  signs: tuple[str, ...]
  infer_config: Callable
  measure: Callable | None = None
  pixel_kernel: str = 'stem/embedding/kernel'
  as_applied: Callable = lambda kernel: kernel
  choose_attention: Callable | None = None
  embeds_patches: bool = False
  varies: str = 'no other names'

  @property
  def has_attention(self):
    return self.choose_attention is not None


FAMILIES = {
  'hybrid': Family(
    title='hybrid',
    names=hybrid.NAMES,
    sizes=vit.SIZES,
    build=hybrid.build,
    fields=vit.FIELDS,
    signs=('stem/root_conv/kernel', *vit.SIGNS),
    infer_config=hybrid.infer_config,
    measure=vit.measure,
    pixel_kernel='stem/root_conv/kernel',
    as_applied=weight_standardization.divide_by_deviation,
    choose_attention=vit.choose_attention,
    varies=f'behind one of {", ".join(hybrid.BACKBONES)} (ResNet/patch size)',
  ),
  'ViT': Family(
    title='ViT',
    names=vit.NAMES,
    sizes=vit.SIZES,
    build=vit.build,
    fields=vit.FIELDS,
    signs=vit.SIGNS,
    infer_config=vit.infer_config,
    measure=vit.measure,
    choose_attention=vit.choose_attention,
    embeds_patches=True,
    varies='any patch size',
  ),
  'BiT': Family(
    title='ResNet',
    names=resnet.NAMES,
    sizes=resnet.UNITS,
    build=resnet.build,
    fields=resnet.FIELDS,
    signs=('root_conv/kernel',),
    infer_config=resnet.infer_config,
    pixel_kernel='root_conv/kernel',
    as_applied=weight_standardization.divide_by_root_of_variance,
    varies='any widening, as x1',
  ),
  'Mixer': Family(
    title='Mixer',
    names=mixer.NAMES,
    sizes=mixer.SIZES,
    build=mixer.build,
    fields=mixer.FIELDS,
    signs=('block_0/token_mlp/hidden/kernel',),
    infer_config=mixer.infer_config,
    measure=mixer.measure,
    varies='any patch size',
  ),
}
FAMILIES = plugins.Registry('model', FAMILIES)  # And those of others.

NAMES = tuple(name for family in FAMILIES.values() for name in family.names)


def names(pattern='*'):
  """Returns the names of models that fit a pattern, as 'ViT-*/16'.

  Raises:
    UserError: there are none; it names the nearest.
  """
  plugins.load()
  known = [name for family in FAMILIES.values() for name in family.names]
  return errors.matching('model', pattern, known)


def table(pattern='*'):
  """Returns the models that fit a pattern as dicts of what JSON can hold.

  Parameters are counted at 224 pixels, with a head of 1,000 classes.

  Raises:
    UserError: as `names`.
  """
  rows = []
  for name in names(pattern):
    of_name = family(name)
    size = of_name.sizes.get(model_names.parse(name).size)
    numbers = dataclasses.asdict(size) if dataclasses.is_dataclass(size) else {}
    rows.append(
      {
        'name': name,
        'family': of_name.title,
        'parameters': parameter_counts.IMAGENET.get(name),
        'patch': model_names.patch_size(name),
        'width': numbers.get('width'),
        'depth': numbers.get('depth'),
        'heads': numbers.get('num_heads'),
      }
    )
  return rows


def variations():
  """Returns a sentence for each family: which further names it understands."""
  return [
    f'{key}: sizes {", ".join(known.sizes)}; {known.varies}.'
    for key, known in FAMILIES.items()
  ]


def family_name(name):
  """Returns the key in `FAMILIES` of the family that a name is of.

  Raises:
    UserError: it is of none.
  """
  parsed = model_names.parse(name)
  while True:
    for key, known in FAMILIES.items():
      if parsed and parsed.form == model_names.parse(known.names[0]).form:
        return key
    if not plugins.load():
      raise errors.UserError(
        f'model.name={name!r} is unknown. {errors.nearest(name, NAMES)}'
      )


def family(name):
  """Returns the `Family` that a name is of; raises as `family_name`."""
  return FAMILIES[family_name(name)]


def build(model, num_classes, constrain=lambda x: x, platform=None):
  """Returns the linen module that `model.name` and its fields describe.

  Args:
    model: the configuration's part for the model.
    num_classes: number of outputs of the head; 0: no head.
    constrain: maps activations between layers, [batch, ...], to the same under
      a sharding constraint; by default there is none.
    platform: of the devices it runs on, e.g. 'gpu'; None: only its shapes or
      its operations are asked for, or it runs on any devices.

  Raises:
    UserError: no such model, or fields that the model does not have.
  """
  of_name = family(model.name)
  _check_fields(model, of_name)
  if of_name.has_attention:
    choice = of_name.choose_attention(model, platform)
    model = model.copy_and_resolve_references()
    model.attention = choice.name
  return of_name.build(model, num_classes, constrain)


def _check_fields(model, of_name):
  default = schema.default().model
  for field in default:
    if field not in of_name.fields and model[field] != default[field]:
      raise errors.UserError(
        f'model.{field}={model[field]} does not fit {model.name}: a '
        f'{of_name.title} has no such thing. Leave it at {default[field]}; '
        f'what a {of_name.title} has: '
        f'{", ".join("model." + name for name in of_name.fields)}.'
      )


def params_of(module, image_size):
  """Returns the tree of shapes of a model's parameters.

  Args:
    module: what `build` returns.
    image_size: (rows, columns) in pixels.
  """
  image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
  tree = jax.eval_shape(
    lambda rng, image: module.init(rng, image, train=False),
    jax.random.key(0),
    image,
  )
  return tree['params']


@dataclasses.dataclass(frozen=True)
class InferredConfig:
  """What parameters tell of their model.

  Attributes:
    fields: {field: value} of the configuration's part `model`.
    num_classes: outputs of the head; 0: there is none.
    image_size: (rows, columns) in pixels that they were trained on; None where
      they fit any.
  """

  fields: dict
  num_classes: int
  image_size: tuple[int, int] | None


def infer_config(shapes, name=None, num_heads=None):
  """Returns the `InferredConfig` of parameters.

  Where there are no position embeddings, they are taken to be sines and
  cosines: no model was released without any.

  Args:
    shapes: {path: shape} by our paths; projections to heads may be flat, as
      [width, width], where a named model has the number of heads.
    name: of the model, if known, as in the configuration; 'ViT-S/16-gap', with
      what pools by averaging said in the name, is understood too.
    num_heads: if known; None: as the shapes or the name say.

  Raises:
    UserError: they are of no model that this project has.
  """
  name = name and name.removesuffix('-gap')
  found = [
    known for known in FAMILIES.values() if shapes.keys() >= set(known.signs)
  ]
  if not found:
    shown = ', '.join(sorted(shapes)[:5])
    raise errors.UserError(
      f'These parameters are of no model that is known: {shown} and so on.'
    )
  named = family(name) if name else None
  of_shapes = named if named in found else found[0]
  fields, image_size = of_shapes.infer_config(shapes, name, num_heads)
  num_classes = shapes.get('head/kernel', (0,))[-1]
  return InferredConfig(fields, num_classes, image_size)
