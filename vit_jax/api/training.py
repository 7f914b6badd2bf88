"""Training from Python: what `vit_jax train` does, within this process."""

import os
import signal
import sys

import numpy as np
from ml_collections import config_dict

from vit_jax import errors
from vit_jax.config import overrides as config_overrides
from vit_jax.config import recipes
from vit_jax.data.sources import arrays, given
from vit_jax.training import train as trainings
from vit_jax.training.runtime import preemption

_SOURCE = ('num_classes', 'class_names', '__len__', '__getitem__')


def train(config, workdir, *, overrides=(), data=None):
  """Trains a model, or resumes the run in `workdir`, bit for bit.

  Ctrl-C, or the stop button of a notebook, saves the state after the current
  step and raises KeyboardInterrupt; the same call resumes it. So does SIGTERM,
  which raises SystemExit. Before the first step, they act as ever. Nothing
  else ends this process: run.watchdog_seconds has no effect here.

  Args:
    config: a recipe, as --config has it ('quickstart.py',
      'finetune/transfer.py:dataset=cifar10', a path), the config.json of a
      run, or a configuration (`vit_jax.config.schema.default()`, changed).
    workdir: folder of the run, also of a store (gs://, s3://).
    overrides: {'run.batch_size': 64}, or texts as on the command line:
      ['--config.run.batch_size=64'].
    data: pair of what to train on and what to evaluate on, in place of the
      data set of the configuration. Each is (images, labels), uint8 [images,
      rows, columns, 3] and int [images], with -1 for no label; or an object
      with a length whose [i] is {'image': uint8 [rows, columns, 3] or the bytes
      of a file, 'label': int}, and with attributes `num_classes` and
      `class_names` (a tuple or None); docs/extend.md tells the rest of it. To
      resume, the same data have to be given.

  Returns:
    {name: float}, the metrics of the last evaluation.

  Raises:
    UserError: something in the configuration, the data or `workdir` is
      invalid, before any training; the data are others than those that the run
      began with; or the run diverges.
  """
  config = _load(config, overrides)
  if data is not None:
    data = _sources(data)
    config.data.source, config.data.dataset = given.NAME, given.NAME
  workdir = os.fspath(workdir)
  try:
    return trainings.run(config, workdir, data, may_exit=False)
  except preemption.Preempted as stopped:
    if stopped.number == signal.SIGINT:
      raise KeyboardInterrupt(str(stopped)) from None
    print(stopped, file=sys.stderr)
    raise SystemExit(preemption.STATUS) from None


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
    flat = config_overrides.flatten(config.copy_and_resolve_references())
    config = config_overrides.unflatten(flat, 'The configuration')
    for text in texts:
      config_overrides.override(config, text)
  else:
    raise errors.UserError(
      f'config is a recipe or a configuration, not {type(config).__name__}.'
    )
  for field, value in fields.items():
    config_overrides.assign(config, field, value, 'overrides')
  return config


def _sources(data):
  """Returns the sources of both splits, which agree on the classes.

  Raises:
    UserError: they are no such pair.
  """
  if not isinstance(data, tuple | list) or len(data) != 2:
    raise errors.UserError(
      'data is a pair: what to train on, and what to evaluate on; each is '
      '(images, labels) or a source.'
    )
  train, evaluated = (
    _source(each, name)
    for each, name in zip(data, ('the training data', 'the evaluation data'))
  )
  if all(isinstance(each, arrays.ArraySource) for each in (train, evaluated)):
    most = max(train.num_classes, evaluated.num_classes)
    train.num_classes = evaluated.num_classes = most
  if train.num_classes != evaluated.num_classes:
    raise errors.UserError(
      f'The training data have {train.num_classes} classes and the evaluation '
      f'data {evaluated.num_classes}; they must have the same.'
    )
  return train, evaluated


def _source(one, name):
  if isinstance(one, tuple | list) and len(one) == 2:
    images, labels = map(np.asarray, one)
    return arrays.ArraySource(images, labels, name=name)
  missing = [attribute for attribute in _SOURCE if not hasattr(one, attribute)]
  if missing:
    raise errors.UserError(
      f'{type(one).__name__} is neither (images, labels) nor a source, which '
      f'it has no {", ".join(missing)} for.'
    )
  if not len(one):
    raise errors.UserError(f'{name}: there is no example.')
  names = one.class_names and tuple(one.class_names)
  return given.GivenSource(one, one.num_classes, names, name)
