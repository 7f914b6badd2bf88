"""What other packages add, by name: sources, models, evaluators and so on."""

import re

from vit_jax import errors, models
from vit_jax.config import model_names
from vit_jax.data import sources
from vit_jax.data.transforms import augmentations, crops
from vit_jax.evaluation import registry
from vit_jax.training import objectives

_REGISTRIES = {
  'augmentation': augmentations.AUGMENTATIONS,
  'evaluator': registry.EVALUATORS,
  'model': models.FAMILIES,
  'objective': objectives.OBJECTIVES,
  'source': sources.SOURCES,
  'train_crop': crops.TRAINING,
}
_NAME = re.compile(r'[A-Za-z][\w.-]{0,99}')


def register(kind, name, entry):
  """Gives a name to a source, model and the like, for the configuration.

      vit_jax.register('source', 'mine', build)  # data.source=mine

  So that the command line knows it, a package calls this from an entry point
  of the group 'vit_jax.plugins'; docs/extend.md has a whole example.

  Args:
    kind: what it is, and so what `entry` is:
      'source' (data.source): (config.data, split) -> a source;
      'augmentation' (data.augmentation): a transform (image, rng) -> image of
        uint8 [rows, columns, 3], a tuple of them, or an
        `augmentations.Augmentation`;
      'train_crop' (data.train_crop): (config.data, rows, columns) -> transform
        to that size;
      'evaluator' (--evaluators): (target) -> `registry.PreparedEvaluator`;
      'objective' (objective.name): (config.objective, module, num_classes,
        `models.Family`) -> objective with init, loss, predict and evaluate;
      'model' (the family in model.name): a `models.Family`.
    name: begins with a letter; of letters, digits and '_', '.' or '-'.
    entry: see above.

  Raises:
    UserError: there is no such kind, the name is taken or is none, or the
      entry is none of the kind.
  """
  table = errors.choose('The kind', kind, _REGISTRIES)
  if not isinstance(name, str) or not _NAME.fullmatch(name):
    raise errors.UserError(
      f'{name!r} is no name of a {kind}: it begins with a letter, followed by '
      "letters, digits, '_', '.' or '-'."
    )
  if kind == 'augmentation':
    entry = _augmentation(name, entry)
  elif kind == 'model':
    _check_family(name, entry)
  elif not callable(entry):
    raise errors.UserError(
      f'The {kind} {name!r} is {type(entry).__name__}, which can not be called.'
    )
  table.add(name, entry)


def _augmentation(name, entry):
  if isinstance(entry, augmentations.Augmentation):
    return entry
  transforms = tuple(entry) if isinstance(entry, tuple | list) else (entry,)
  if not transforms or not all(map(callable, transforms)):
    raise errors.UserError(
      f'The augmentation {name!r} is no transform (image, rng) -> image, nor a '
      'tuple of them.'
    )
  return augmentations.Augmentation(transforms)


def _check_family(name, entry):
  if not isinstance(entry, models.Family):
    raise errors.UserError(
      f'The model {name!r} is {type(entry).__name__}, and no models.Family.'
    )
  for each in entry.names:
    parsed = model_names.parse(each)
    if not parsed or parsed.family != name:
      raise errors.UserError(
        f'{each!r} is no name of the family {name!r}, as {name}-B/16 is.'
      )
