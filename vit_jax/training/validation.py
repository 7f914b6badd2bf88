"""Evaluation during a training: the metrics of its objective, over all data."""

import functools

import numpy as np
from jax.experimental import multihost_utils

from vit_jax.data import pipeline
from vit_jax.evaluation import classification, masked_patches
from vit_jax.sharding import placement

_OF_OBJECTIVE = {
  'classification': classification.evaluate,
  'masked_patches': masked_patches.evaluate,
}


def report(
  config, components, predict, params, source, watch=iter, bad_path=None
):
  """Returns the metrics of `params` over all of `source`, padding masked.

  They are those of the objective: of classes, or of the colours of patches.

  Args:
    watch: maps the iterable of batches to one of the same; may raise to end it.
    bad_path: of the file that lists examples that can't be used, or None.
  """
  return _OF_OBJECTIVE[config.objective.name](
    functools.partial(predict, params),
    watch(
      placement.to_devices(batch, components.mesh)
      for batch in batches(config, components.mesh, source, bad_path)
    ),
  )


def batches(config, mesh, source, bad_path=None):
  """Yields this process's rows of the batches of `source`, in order."""
  size = config.run.eval_batch_size or config.run.batch_size
  return pipeline.eval_batches(
    source,
    config.data,
    batch_size=size,
    rows=placement.local_rows(mesh, size),
    bad_path=bad_path,
  )


def num_batches(config, source):
  """Returns how many batches an evaluation of `source` takes."""
  size = config.run.eval_batch_size or config.run.batch_size
  return pipeline.num_eval_batches(len(source), size)


def first_predictions(config, components, predict, params, source):
  """Returns images, labels and predicted labels of the first batch.

  They are NumPy arrays, uint8 [n, height, width, 3], int32 [n] and int32 [n],
  the same in every process; None where no labels are predicted.
  """
  if config.objective.name != 'classification':
    return None
  first = next(iter(batches(config, components.mesh, source)))
  batch = placement.to_devices(first, components.mesh)
  predicted = predict(params, batch).argmax(-1)
  image, label, mask, predicted = multihost_utils.process_allgather(
    (batch['image'], batch['label'], batch['mask'], predicted), tiled=True
  )
  real = np.asarray(mask)
  return image[real], label[real], predicted[real]
