"""Training from Python: what `vit_jax train` does, in this process."""

import os

from ml_collections import config_dict

from vit_jax import errors
from vit_jax.config import overrides as config_overrides
from vit_jax.config import recipes
from vit_jax.training import train as trainings


def train(config, workdir, *, overrides=()):
  """Trains a model, or resumes the run in `workdir`, bit for bit.

  Args:
    config: a recipe, as --config has it ('quickstart.py',
      'finetune/transfer.py:dataset=cifar10', a path), the config.json of a
      run, or a configuration (`vit_jax.config.schema.default()`, changed).
    workdir: folder of the run, also of a store (gs://, s3://).
    overrides: {'run.batch_size': 64}, or texts as on the command line:
      ['--config.run.batch_size=64'].

  Returns:
    {name: float}, the metrics of the last evaluation.

  Raises:
    UserError: something in the configuration, the data or `workdir` is
      invalid, before any training; or the run diverges.
  """
  return trainings.run(_load(config, overrides), os.fspath(workdir))


def _load(config, overrides):
  """Returns the locked configuration that is meant."""
  fields = overrides if isinstance(overrides, dict) else {}
  texts = () if isinstance(overrides, dict) else overrides
  if isinstance(texts, str):
    raise errors.UserError(
      f'overrides={texts!r} is one text; give {{field: value}} or a list.'
    )
  if isinstance(config, str | os.PathLike):
    config = recipes.load(os.fspath(config), texts)
  elif isinstance(config, config_dict.ConfigDict):
    given = config_overrides.flatten(config.copy_and_resolve_references())
    config = config_overrides.unflatten(given, 'The configuration')
    for text in texts:
      config_overrides.override(config, text)
  else:
    raise errors.UserError(
      f'config is a recipe or a configuration, not {type(config).__name__}.'
    )
  for field, value in fields.items():
    config_overrides.assign(config, field, value, 'overrides')
  return config
