"""The classification objective on a model small enough to see through."""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import batch as batches
from vit_jax.evaluation import metrics
from vit_jax.training import objectives

CLASSES = 3
SIZE = (2, 4)


@flax.struct.dataclass
class Output:
  logits: jax.Array


class Model(nn.Module):
  dropout: float = 0.0
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, images, *, train):
    x = images.reshape(images.shape[0], -1)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return Output(nn.Dense(CLASSES, name='head', dtype=self.dtype)(x))


def _objective(dropout=0.0, dtype='float32', **changes):
  config = schema.default().objective
  config.update(changes)
  return objectives.build(config, Model(dropout, dtype), CLASSES, None)


def _batch(size=4):
  rng = np.random.default_rng(0)
  return {
    'image': rng.integers(0, 256, (size, *SIZE, 3), dtype=np.uint8),
    'label': np.arange(size, dtype=np.int32) % CLASSES,
    'mask': np.ones(size, bool),
    'index': np.arange(size),
  }


def _pad(batch, rows):
  empty = batches.padding(*SIZE)
  return {
    key: np.concatenate([values, np.stack([empty[key]] * rows)])
    for key, values in batch.items()
  }


def _run(objective, batch):
  params = objective.init(jax.random.key(0), SIZE)
  return objective.loss(params, batch, jax.random.key(1))


def _metrics(objective, batch):
  loss, reported = _run(objective, batch)
  return float(loss), metrics.compute(reported)


def test_init_gives_a_plain_dict_also_under_eval_shape():
  objective = _objective()
  init = lambda rng: objective.init(rng, SIZE)  # noqa: E731
  params = init(jax.random.key(0))
  assert type(params) is dict and type(params['head']) is dict
  shapes = jax.eval_shape(init, jax.random.key(0))
  assert shapes['head']['kernel'].shape == params['head']['kernel'].shape


def test_the_loss_is_the_mean_over_the_batch():
  objective, batch = _objective(), _batch()
  params = objective.init(jax.random.key(0), SIZE)
  loss, reported = objective.loss(params, batch, jax.random.key(1))
  logits = np.asarray(objective.predict(params, batch), np.float64)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  wanted = -np.log(p[np.arange(4), batch['label']]).mean()
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)
  assert reported['loss'].compute() == pytest.approx(float(loss))
  hits = np.mean(logits.argmax(-1) == batch['label'])
  assert reported['accuracy'].compute() == pytest.approx(hits)


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_padding_changes_no_loss_no_metric_and_no_gradient(loss):
  objective, batch = _objective(loss=loss, label_smoothing=0.1), _batch()
  params = objective.init(jax.random.key(0), SIZE)
  grad = jax.grad(objective.loss, has_aux=True)
  results = [
    grad(params, each, jax.random.key(1)) for each in (batch, _pad(batch, 4))
  ]
  jax.tree.map(
    lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6),
    *(grads for grads, _ in results),
  )
  (_, one), (_, two) = results
  assert metrics.compute(one) == pytest.approx(metrics.compute(two))


def test_a_batch_of_padding_alone_has_a_finite_loss():
  batch = _batch()
  batch['mask'][:] = False
  loss, _ = _run(_objective(), batch)
  assert float(loss) == 0


def test_an_example_without_label_counts_for_nothing():
  batch = _batch(5)
  batch['label'][4] = -1
  shorter = {key: values[:4] for key, values in batch.items()}
  one, two = (_metrics(_objective(), each) for each in (batch, shorter))
  assert one[0] == pytest.approx(two[0], rel=1e-5)
  assert one[1]['accuracy'] == two[1]['accuracy']


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_a_target_that_is_one_hot_equals_the_label(loss):
  objective, batch = _objective(loss=loss), _batch()
  target = np.eye(CLASSES, dtype=np.float32)[batch['label']]
  mixed = {**batch, 'label': batch['label'] * 0, 'target': target}
  assert _metrics(objective, batch) == _metrics(objective, mixed)


def test_smoothing_is_mixing_with_the_uniform_target():
  batch = _batch()
  target = np.eye(CLASSES, dtype=np.float32)[batch['label']]
  mixed = {**batch, 'target': 0.7 * target + 0.3 / CLASSES}
  smoothed, _ = _metrics(_objective(label_smoothing=0.3), batch)
  assert smoothed == pytest.approx(_metrics(_objective(), mixed)[0])


def test_dropout_follows_the_rng_in_training_and_is_off_in_prediction():
  objective, batch = _objective(dropout=0.5), _batch()
  params = objective.init(jax.random.key(0), SIZE)
  one, again, other = (
    float(objective.loss(params, batch, jax.random.key(seed))[0])
    for seed in (1, 1, 2)
  )
  assert one == again != other
  plain = _objective().predict(params, batch)
  np.testing.assert_array_equal(objective.predict(params, batch), plain)


def test_predictions_are_float32():
  objective = _objective(dtype='bfloat16')
  params = objective.init(jax.random.key(0), SIZE)
  logits = objective.predict(params, _batch())
  assert logits.shape == (4, CLASSES) and logits.dtype == jnp.float32


def test_unknown_names_are_user_errors():
  with pytest.raises(errors.UserError, match=r'objective\.loss.*softmax'):
    _objective(loss='softmx')
  with pytest.raises(
    errors.UserError, match=r'objective\.name.*classification'
  ):
    _objective(name='clasification')
