"""Supervised classification: cross-entropy on one label or a soft target."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.data import batch as batches
from vit_jax.evaluation import metrics
from vit_jax.training.objectives import losses


@dataclasses.dataclass(frozen=True)
class Classification:
  """Trains a model's logits to name the class of an image.

  Attributes:
    model: a Flax module; `apply` returns an output that has `logits`.
    num_classes: number of classes.
    cross_entropy: maps logits and target, both [batch, classes], to [batch].
    label_smoothing: fraction of the target that is spread over all classes.
  """

  model: nn.Module
  num_classes: int
  cross_entropy: Callable
  label_smoothing: float = 0.0

  def init(self, rng, image_size):
    """Returns parameters for images of (rows, columns) pixels, a nested dict.

    Works under `jax.eval_shape` and `jax.jit` with a constant image size.
    """
    images = jnp.zeros([1, *image_size, 3])
    return self.model.init(rng, images, train=False)['params']

  def loss(self, params, batch, rng):
    """Returns the mean loss over real examples, and metrics to report.

    Args:
      params: parameters, see `init`.
      batch: see vit_jax/data/batch.py, on the device. A float `target`
        [batch, classes], as mixup produces, takes the place of `label`.
      rng: for dropout and the like.

    Returns:
      The float32 scalar, and {name: metrics.Mean} with `loss` and `accuracy`
      (of the largest logit against the largest class of the target). Examples
      without mask or label count for neither.
    """
    images = batches.to_model_range(batch['image'])
    outputs = self.model.apply(
      {'params': params}, images, train=True, rngs={'dropout': rng}
    )
    target, counted = self._target(batch)
    smoothed = losses.smooth(target, self.label_smoothing)
    correct = jnp.argmax(outputs.logits, -1) == jnp.argmax(target, -1)
    reported = {
      'loss': metrics.Mean.of(
        self.cross_entropy(outputs.logits, smoothed), counted
      ),
      'accuracy': metrics.Mean.of(correct, counted),
    }
    mean = reported['loss']
    return mean.total / jnp.maximum(mean.count, 1), reported

  def predict(self, params, batch):
    """Returns the logits, float32 [batch, classes], of a batch of images."""
    images = batches.to_model_range(batch['image'])
    outputs = self.model.apply({'params': params}, images, train=False)
    return outputs.logits.astype(jnp.float32)

  def _target(self, batch):
    """Returns targets [batch, classes] and which of them count [batch]."""
    if 'target' in batch:
      return batch['target'].astype(jnp.float32), batch['mask']
    label = batch['label']
    return jax.nn.one_hot(label, self.num_classes), batch['mask'] & (label >= 0)


def build(objective, model, num_classes, family):
  """Returns the `Classification` that the configuration describes."""
  del family  # Every model has logits.
  return Classification(
    model=model,
    num_classes=num_classes,
    cross_entropy=errors.choose(
      'objective.loss', objective.loss, losses.LOSSES
    ),
    label_smoothing=objective.label_smoothing,
  )
