import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.objectives import mixed


class Recorder:
  """An objective whose loss is the sum of the batch and its key's number."""

  def init(self, rng, image_size):
    return ('init', image_size)

  def loss(self, params, batch, rng):
    return jnp.sum(batch['image']) + jax.random.uniform(rng), {}

  def predict(self, params, batch):
    return batch['image']


def test_only_the_loss_sees_the_mixed_batch(rng):
  def mix(batch, rng):
    return {'image': batch['image'] + 10 * jax.random.uniform(rng)}

  batch = {'image': jnp.zeros(1)}
  objective = mixed.Mixed(Recorder(), mix)
  assert objective.init(rng, (2, 3)) == ('init', (2, 3))
  np.testing.assert_array_equal(objective.predict(None, batch), batch['image'])
  mix_rng, loss_rng = jax.random.split(rng)
  loss, _ = objective.loss(None, batch, rng)
  wanted = 10 * jax.random.uniform(mix_rng) + jax.random.uniform(loss_rng)
  np.testing.assert_allclose(loss, wanted, rtol=1e-6)
