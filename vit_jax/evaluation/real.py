"""Accuracy on ImageNet's reassessed labels, of which an image may have several.

Beyer et al. (2020), 'Are we done with ImageNet?', section 4: a prediction is
right when it is among the labels; images without one are left out.
"""

import jax
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.evaluation import metrics


def evaluate(predict, batches, labels):
  """Measures how often the top-1 class is among an image's labels.

  Args:
    predict: maps a batch on the device to its logits [batch, classes].
    batches: batches on the device whose label is the number of the image, its
      row in `labels`; -1 and padding are ignored.
    labels: class indices, int32 [images, most labels], padded with -1.

  Returns:
    {'real_accuracy': fraction of the images with labels that are correct,
     'real_num_examples': number of images with labels}.

  Raises:
    UserError: no image has a label.
  """
  total = None
  for batch in batches:
    measured = _measure(predict(batch), batch['label'], batch['mask'], labels)
    total = measured if total is None else _merge(total, measured)
  num_examples = int(total.count) if total else 0
  if not num_examples:
    raise errors.UserError('None of the images has a reassessed label.')
  return {
    'real_accuracy': total.compute(),
    'real_num_examples': num_examples,
  }


@jax.jit
def _measure(logits, number, mask, labels):
  own = labels[jnp.maximum(number, 0)]  # [batch, most labels]
  is_right = jnp.any(own == jnp.argmax(logits, -1)[:, None], axis=-1)
  return metrics.Mean.of(is_right, mask & (number >= 0) & (own[:, 0] >= 0))


_merge = jax.jit(metrics.Mean.merge)
