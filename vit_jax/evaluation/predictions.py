"""Predicted classes of the examples of a split, and how sure the model is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import errors
from vit_jax.evaluation import drawing, gather


class Predictions(NamedTuple):
  """Predictions for the labelled examples of a split, in its order.

  index: int [examples]; position of each in its split, increasing.
  label: int32 [examples]; the true class.
  predicted: int32 [examples]; the class of the largest logit.
  confidence: float32 [examples]; softmax probability of the predicted class,
  true_probability: and of the true class.
  """

  index: np.ndarray
  label: np.ndarray
  predicted: np.ndarray
  confidence: np.ndarray
  true_probability: np.ndarray

  def worst(self, count):
    """Returns the mistakes, the most confident first, `count` at most.

    Among equals, the one with the least probability of the true class.
    """
    wrong = np.flatnonzero(self.label != self.predicted)
    order = np.lexsort((self.true_probability[wrong], -self.confidence[wrong]))
    worst = wrong[order[:count]]
    return Predictions(*(array[worst] for array in self))


def collect(predict, batches):
  """Returns the `Predictions` of all batches.

  All processes call it with their batches, and each gets the whole.

  Args:
    predict: maps a batch on the device to its logits [batch, classes].
    batches: batches on the device, see vit_jax/data/batch.py.

  Raises:
    UserError: there is no labelled example.
  """
  index, label, *values = gather.examples(
    (
      batch['index'],
      batch['mask'],
      batch['label'],
      *of_logits(predict(batch), batch['label']),
    )
    for batch in batches
  )
  known = label >= 0
  if not known.any():
    raise errors.UserError(
      'There is no labelled example to evaluate on; '
      'data.eval_split must name a split that has labels.'
    )
  return Predictions(*(array[known] for array in (index, label, *values)))


@jax.jit
def of_logits(logits, label):
  """Returns predicted class, its confidence and the true class's, [batch]."""
  p = jax.nn.softmax(logits.astype(jnp.float32))
  predicted = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  # Where there is no label, the probability is of no use to anybody.
  own = jnp.stack([predicted, jnp.maximum(label, 0)], axis=-1)
  of_predicted, of_true = jnp.take_along_axis(p, own, axis=-1).T
  return predicted, of_predicted, of_true


def caption(label, predicted, confidence, class_names):
  """Returns two lines for below an image: predicted and, if not so, true class.

  Args:
    label: the true class; -1: not known.
    predicted: class.
    confidence: in the predicted class, in [0, 1].
    class_names: see `drawing.class_name`.
  """
  text = f'{drawing.class_name(predicted, class_names)} · {confidence:.0%}'
  if label < 0:
    return text
  if label == predicted:
    return f'✓ {text}'
  return f'✗ {text}\ntrue: {drawing.class_name(label, class_names)}'
