"""Evaluation during a training: the metrics of its objective, over all data."""

import functools
from typing import NamedTuple

import numpy as np

from vit_jax.data import pipeline
from vit_jax.data.sources import subset
from vit_jax.evaluation import (
  classification,
  gather,
  masked_patches,
  predictions,
)
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
  own = getattr(components.objective, 'evaluate', None)  # Of a plugin.
  evaluate = own or _OF_OBJECTIVE[config.objective.name]
  return evaluate(
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


class Sample(NamedTuple):
  """Examples and what is predicted for them.

  image: uint8 [n, height, width, 3].
  label: int32 [n]; the true class, -1 where it is not known.
  predicted: int32 [n]; the class of the largest logit.
  confidence: float32 [n]; its softmax probability.
  """

  image: np.ndarray
  label: np.ndarray
  predicted: np.ndarray
  confidence: np.ndarray


def sample_predictions(config, components, predict, params, source, count):
  """Returns a `Sample` of `count` examples, drawn by the seed of the run.

  It is the same in every process, whatever their number. Only what is drawn is
  read, and examples that can't be used are left out. None where no labels are
  predicted.
  """
  if config.objective.name != 'classification':
    return None
  rng = np.random.default_rng(config.seed)
  count = min(count, len(source))
  drawn = np.sort(rng.choice(len(source), count, replace=False))
  config = config.copy_and_resolve_references()
  config.data.max_bad_fraction = 1.0  # It has been evaluated on all of them.
  placed = (
    placement.to_devices(batch, components.mesh)
    for batch in batches(config, components.mesh, subset.Subset(source, drawn))
  )
  measured = (
    (
      *(batch[key] for key in ('index', 'mask', 'image', 'label')),
      *predictions.of_logits(predict(params, batch), batch['label'])[:2],
    )
    for batch in placed
  )
  return Sample(*gather.examples(measured)[1:])
