"""A checkpoint of a run, evaluated."""

import functools
import pathlib

import jax
import numpy as np
from jax.experimental import multihost_utils

from vit_jax import assembly, errors, experiment, recipes
from vit_jax.checkpoints import run as checkpoints
from vit_jax.data import pipeline, sources
from vit_jax.evaluators import classification
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement


def run(workdir):
  """Evaluates the newest checkpoint of the run in `workdir`.

  Returns:
    {name: float}, what `evaluators.classification` reports.

  Raises:
    UserError: `workdir` holds no run, or no checkpoint.
  """
  workdir = pathlib.Path(workdir).absolute()
  if not (workdir / 'config.json').exists():
    raise errors.UserError(
      f'{workdir} holds no run: it has no config.json. '
      'Give the --workdir of a training.'
    )
  config = recipes.load(str(workdir / 'config.json'))
  devices = meshes.devices()
  experiment.validate(config, len(devices))
  source = sources.build(config.data, config.data.eval_split)
  mesh = meshes.build(config.mesh, devices)
  parts = assembly.build(config, source.num_classes, mesh)
  saved = checkpoints.Checkpoints(
    workdir / 'checkpoints', config.run.checkpoints_to_keep, read_only=True
  )
  state = saved.restore(parts.state)
  return report(config, parts, parts.predict(), state.params, source)


def report(config, parts, predict, params, source, watch=iter, bad_path=None):
  """Returns the metrics of `params` over all of `source`, padding masked.

  Args:
    watch: maps the iterable of batches to one of the same; may raise to end it.
    bad_path: of the file that lists examples that can't be used, or None.
  """
  return classification.evaluate(
    functools.partial(predict, params),
    watch(
      placement.to_devices(batch, parts.mesh)
      for batch in batches(config, source, bad_path)
    ),
  )


def batches(config, source, bad_path=None):
  """Yields this process's share of the batches of `source`, in order."""
  return pipeline.eval_batches(
    source,
    config.data,
    batch_size=config.run.eval_batch_size or config.run.batch_size,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    bad_path=bad_path,
  )


def num_batches(config, source):
  """Returns how many batches an evaluation of `source` takes."""
  size = config.run.eval_batch_size or config.run.batch_size
  return pipeline.num_eval_batches(len(source), size)


def first_predictions(config, parts, predict, params, source):
  """Returns images, labels and predicted labels of the first batch.

  They are NumPy arrays, uint8 [n, height, width, 3], int32 [n] and int32 [n],
  the same in every process.
  """
  batch = placement.to_devices(next(iter(batches(config, source))), parts.mesh)
  predicted = predict(params, batch).argmax(-1)
  image, label, mask, predicted = multihost_utils.process_allgather(
    (batch['image'], batch['label'], batch['mask'], predicted), tiled=True
  )
  real = np.asarray(mask)
  return image[real], label[real], predicted[real]
