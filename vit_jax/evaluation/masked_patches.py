"""How well colours of corrupted patches are predicted (ViT paper, B.1.2)."""

import jax

from vit_jax import errors
from vit_jax.evaluation import metrics


def evaluate(predict, batches):
  """Averages over all corrupted patches of all images, each counted once.

  Args:
    predict: maps a batch on the device to `loss`, `correct` and `counted`, each
      [batch, patches].
    batches: batches on the device, as vit_jax/data/batch.py tells.

  Returns:
    {'accuracy': fraction of patches whose colour was named,
     'loss': in nats, 'num_patches': how many they were}.

  Raises:
    UserError: there was no image.
  """
  total = None
  for batch in batches:
    measured = _measure(predict(batch))
    # Stays on the device, so that the next batch is not waited for.
    total = measured if total is None else _merge(total, measured)
  num_patches = int(total['loss'].count) if total else 0
  if not num_patches:
    raise errors.UserError(
      'There is no image to evaluate on; data.eval_split names an empty split.'
    )
  return {**metrics.compute(total), 'num_patches': num_patches}


@jax.jit
def _measure(prediction):
  return {
    'accuracy': metrics.Mean.of(prediction.correct, prediction.counted),
    'loss': metrics.Mean.of(prediction.loss, prediction.counted),
  }


_merge = jax.jit(metrics.merge)
