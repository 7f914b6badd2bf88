"""Figure 12 on whatever is there."""

import jax
import pytest

from vit_jax.paper import inference_speed


def test_speed_is_measured_up_to_the_largest_batch():
  text = inference_speed.table(['R+ViT-Ti/16'], [40], largest=2, seconds=0.0)
  device, _, *lines = text.splitlines()
  assert 'batches up to 2' in device
  model, pixels, rate, batch = [
    cell.strip() for cell in lines[-1].split('|')[1:-1]
  ]
  assert (model, pixels, batch) == ('R+ViT-Ti/16', '32', '2')
  assert float(rate) > 0


def test_a_batch_that_does_not_fit_ends_the_search(monkeypatch):
  def rate(predict, params, images, seconds):
    if len(images) > 4:
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')
    return 10.0 / len(images)

  monkeypatch.setattr(inference_speed, '_rate', rate)
  found = inference_speed.measure('BiT-R50x1', 32, 64, 0.0, 'cpu')
  assert found == inference_speed.Speed(10.0, 4)


def test_another_failure_is_not_taken_for_it(monkeypatch):
  def rate(*_):
    raise jax.errors.JaxRuntimeError('INTERNAL: broken')

  monkeypatch.setattr(inference_speed, '_rate', rate)
  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
    inference_speed.measure('BiT-R50x1', 32, 64, 0.0, 'cpu')
