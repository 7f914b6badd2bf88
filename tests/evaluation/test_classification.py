"""Evaluation counts every labelled example once, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.evaluation import classification


@jax.jit
def _predict(batch):
  """The image is its logits."""
  return batch['image']


def _examples(count=23, classes=7):
  rng = np.random.default_rng(0)
  return {
    'image': rng.normal(size=(count, classes)).astype(np.float32),
    'label': rng.integers(0, classes, count).astype(np.int32),
  }


def _batches(examples, size, garbage=0.0):
  count = len(examples['label'])
  for start in range(0, count, size):
    part = {
      key: values[start : start + size] for key, values in examples.items()
    }
    missing = size - len(part['label'])
    classes = part['image'].shape[-1]
    yield {
      'image': np.concatenate(
        [part['image'], np.full((missing, classes), garbage, np.float32)]
      ),
      # Labels that look real: the mask alone must keep padding out.
      'label': np.pad(part['label'], (0, missing)),
      'mask': np.arange(size) < size - missing,
    }


def test_results_equal_a_count_in_numpy():
  examples = _examples()
  result = classification.evaluate(_predict, _batches(examples, 8))
  logits, label = examples['image'], examples['label']
  order = np.argsort(-logits, axis=-1)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  assert result['num_examples'] == 23
  assert result['accuracy'] == pytest.approx(np.mean(order[:, 0] == label))
  top5 = np.mean((order[:, :5] == label[:, None]).any(-1))
  assert result['top5'] == pytest.approx(top5)
  loss = -np.log(p[np.arange(23), label]).mean()
  assert result['loss'] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize('size', [1, 4, 23, 64])
def test_the_batch_size_changes_nothing(size):
  examples = _examples()
  one = classification.evaluate(_predict, _batches(examples, size))
  whole = classification.evaluate(_predict, _batches(examples, 23))
  assert one == pytest.approx(whole)


def test_padding_that_is_not_finite_changes_nothing():
  examples = _examples()
  one = classification.evaluate(_predict, _batches(examples, 8, np.nan))
  two = classification.evaluate(_predict, _batches(examples, 8))
  assert one == two


def test_examples_without_label_are_not_counted():
  examples = _examples()
  unlabelled = {**examples, 'label': examples['label'].copy()}
  unlabelled['label'][20:] = -1
  labelled = {key: values[:20] for key, values in examples.items()}
  one = classification.evaluate(_predict, _batches(unlabelled, 23))
  two = classification.evaluate(_predict, _batches(labelled, 20))
  assert one == pytest.approx(two)
  assert one['num_examples'] == 20


def test_the_loss_of_logits_of_16_bits_has_32():
  examples = _examples(classes=64)

  def predict(batch):
    return jnp.asarray(batch['image'], jnp.bfloat16)

  rounded = np.asarray(predict(examples), np.float32)
  one = classification.evaluate(predict, _batches(examples, 8))
  exact = {**examples, 'image': rounded}
  two = classification.evaluate(_predict, _batches(exact, 8))
  assert one == pytest.approx(two, rel=1e-6)


def test_five_classes_have_no_top5():
  examples = _examples(classes=5)
  result = classification.evaluate(_predict, _batches(examples, 8))
  assert result.keys() == {'accuracy', 'loss', 'num_examples'}


def test_each_batch_shape_compiles_once():
  traces = []

  @jax.jit
  def predict(batch):
    traces.append(batch['image'].shape)
    return batch['image'].astype(jnp.float32)

  before = classification._measure._cache_size()
  classification.evaluate(predict, _batches(_examples(40, 11), 8))
  assert traces == [(8, 11)]
  assert classification._measure._cache_size() == before + 1


def test_nothing_to_count_is_a_user_error():
  unlabelled = {**_examples(), 'label': np.full(23, -1, np.int32)}
  for batches in [], _batches(unlabelled, 8):
    with pytest.raises(errors.UserError, match='no labelled example'):
      classification.evaluate(_predict, batches)
