"""Accuracy on every labelled example of a split, each counted once."""

import jax
import jax.numpy as jnp

from vit_jax import errors
from vit_jax.evaluation import metrics

TOP_K = 5


def evaluate(predict, batches):
  """Measures accuracy and cross-entropy.

  Args:
    predict: maps a batch on the device to its logits [batch, classes].
    batches: batches on the device, see vit_jax/data/batch.py; examples whose
      mask is False or whose label is -1 are ignored.

  Returns:
    {'accuracy': fraction of examples whose largest logit is the label's,
     'top5': fraction whose label is among the five largest; only if there are
       more than five classes,
     'loss': mean of -log softmax(logits)[label], in nats,
     'num_examples': number of examples these are over}.

  Raises:
    UserError: there was no labelled example.
  """
  total = None
  for batch in batches:
    measured = _measure(predict(batch), batch['label'], batch['mask'])
    # Stays on the device, so that the host does not wait for it.
    total = measured if total is None else _merge(total, measured)
  num_examples = int(total['loss'].count) if total else 0
  if not num_examples:
    raise errors.UserError(
      'There is no labelled example to evaluate on; '
      'data.eval_split must name a split that has labels.'
    )
  return {**metrics.compute(total), 'num_examples': num_examples}


@jax.jit
def _measure(logits, label, mask):
  counted = mask & (label >= 0)
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  # Where there is no label, class 0 is read and then masked.
  index = jnp.maximum(label, 0)[:, None]
  measured = {
    'accuracy': jnp.argmax(logits, axis=-1) == label,
    'loss': -jnp.take_along_axis(log_p, index, axis=-1)[:, 0],
  }
  if logits.shape[-1] > TOP_K:
    _, best = jax.lax.top_k(logits, TOP_K)  # [batch, 5]
    measured['top5'] = jnp.any(best == label[:, None], axis=-1)
  return {
    name: metrics.Mean.of(values, counted) for name, values in measured.items()
  }


_merge = jax.jit(metrics.merge)
