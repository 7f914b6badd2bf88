"""k-nearest-neighbour accuracy on frozen features.

Wu et al. (2018), 'Unsupervised feature learning via non-parametric instance
discrimination', section 3.4: the k training images whose features are the most
similar vote, each with the weight exp(cosine similarity / temperature). The
temperature is theirs; k = 20 is what Caron et al. (2021), 'DINO', report.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import errors
from vit_jax.evaluation import features

NUM_NEIGHBOURS = 20
TEMPERATURE = 0.07

_NUM_PAIRS = 1 << 26  # Similarities in memory at a time.


def evaluate(embed, train, test, num_classes):
  """Measures how often the neighbours of a test image vote for its class.

  Args:
    embed: maps a batch on the device to features, float32 [batch, width].
    train: batches on the device of the whole training split.
    test: batches on the device to measure on.
    num_classes: number of classes.

  Returns:
    {'knn_20': accuracy, 'knn_num_examples': number of examples it is over}.

  Raises:
    UserError: fewer training examples than neighbours have a label, or no
      test example has one.
  """
  train_set = features.collect(embed, train).labelled()
  check(len(train_set.label))
  test_set = features.collect(embed, test).labelled()
  elected = votes(
    train_set.features, train_set.label, test_set.features, num_classes
  ).argmax(-1)
  return {
    f'knn_{NUM_NEIGHBOURS}': float(np.mean(elected == test_set.label)),
    'knn_num_examples': len(test_set.label),
  }


def check(num_examples):
  """Raises UserError where there are fewer examples than neighbours."""
  if num_examples < NUM_NEIGHBOURS:
    raise errors.UserError(
      f'{NUM_NEIGHBOURS} nearest neighbours need as many training examples, '
      f'and there are {num_examples}; give a larger --train_split.'
    )


def votes(
  train_features, label, test_features, num_classes, count=NUM_NEIGHBOURS
):
  """Returns the weight of the votes, float32 [test, classes], of neighbours.

  Args:
    train_features: features of the training examples, float [examples, width].
    label: class index of each of them, int [examples].
    test_features: features of others, float [test, width].
    num_classes: number of classes.
    count: number of neighbours.
  """
  train_features, test_features = _unit(train_features), _unit(test_features)
  rows = max(1, min(len(test_features), _NUM_PAIRS // len(train_features)))
  train_features, label = jnp.asarray(train_features), jnp.asarray(label)
  result = []
  for start in range(0, len(test_features), rows):
    part = test_features[start : start + rows]
    padded = np.pad(part, ((0, rows - len(part)), (0, 0)))
    voted = _votes(train_features, label, padded, num_classes, count)
    result.append(np.asarray(voted)[: len(part)])
  return np.concatenate(result)


def _unit(x):
  """Returns the rows at length 1, so that products are cosines."""
  x = np.asarray(x, np.float32)
  length = np.linalg.norm(x, axis=-1, keepdims=True)
  return x / np.maximum(length, np.finfo(np.float32).tiny)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _votes(train_features, label, test_features, num_classes, count):
  similarity = jnp.matmul(test_features, train_features.T, precision='highest')
  nearest, index = jax.lax.top_k(similarity, count)  # [test, count]
  # Relative to the nearest: the winner is the same, and nothing overflows.
  weight = jnp.exp((nearest - nearest[:, :1]) / TEMPERATURE)
  row = jnp.arange(len(test_features))[:, None]
  empty = jnp.zeros((len(test_features), num_classes))
  return empty.at[row, label[index]].add(weight)
