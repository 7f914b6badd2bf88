"""Cross-entropies between logits and target distributions, in float32."""

import jax
import jax.numpy as jnp


def softmax_cross_entropy(logits, target):
  """Returns -sum(target * log softmax(logits)) over classes, in nats.

  Args:
    logits: [batch, classes].
    target: [batch, classes], a distribution over the classes.

  Returns:
    float32 [batch].
  """
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  return -jnp.sum(target * log_p, axis=-1)


def sigmoid_cross_entropy(logits, target):
  """Returns the binary cross-entropy of every class, summed over classes.

  A sum, not a mean, as in Google's big_vision.

  Args:
    logits: [batch, classes].
    target: [batch, classes], each class from 0 to 1.

  Returns:
    float32 [batch].
  """
  logits = logits.astype(jnp.float32)
  log_p, log_not_p = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
  return -jnp.sum(target * log_p + (1 - target) * log_not_p, axis=-1)


LOSSES = {'softmax': softmax_cross_entropy, 'sigmoid': sigmoid_cross_entropy}


def smooth(target, amount):
  """Spreads a fraction `amount` of target [batch, classes] over all classes.

  Label smoothing of Szegedy et al. (2016), section 7. Wightman et al. (2021),
  procedure A1, smooth the target of the sigmoid loss in the same way.
  """
  return (1 - amount) * target + amount / target.shape[-1]
