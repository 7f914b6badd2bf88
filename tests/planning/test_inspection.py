"""`vit_jax inspect` tells what a run will be, and allocates nothing of it."""

import jax
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.planning import inspection


@pytest.fixture(scope='module')
def text():
  config = schema.default()
  config.model.name = 'ViT-G/14'
  config.mesh.fsdp = 64
  config.run.num_steps = 20_000
  config.optimizer.trainable_rules = (('head/.*', False), ('.*', True))
  arrays = len(jax.live_arrays())
  text = inspection.text(config, num_devices=128, platform='cpu')
  assert len(jax.live_arrays()) == arrays
  return text


def row(text, start):
  (line,) = (line for line in text.splitlines() if line.startswith(start))
  return line.removeprefix(start).split()


def test_the_configuration_is_told(text):
  assert row(text, 'optimizer.weight_decay =') == ['0.1']


def test_a_parameter_is_a_row(text):
  kernel = row(text, 'encoder/block_47/mlp/hidden/kernel ')
  assert ' '.join(kernel) == '1664 x 8192 float32 fsdp x - 0.1 yes'
  bias = row(text, 'head/bias ')
  assert ' '.join(bias) == '1000 float32 - 0 no'


def test_bytes_are_those_of_one_device(text):
  (params,) = row(text, 'bytes per device, parameters')
  (optimizer,) = row(text, 'bytes per device, optimizer')
  params = int(params.replace(',', ''))
  whole = 4 * 1_844_440_680
  assert whole / 64 < params < 1.06 * whole / 64
  # Two moments of what is trained, which the head is not; and two counts.
  assert int(optimizer.replace(',', '')) == pytest.approx(2 * params, rel=0.01)


def test_flops_are_those_of_the_formula(text):
  # reference: n P^2 3 D + L (T (4 D^2 + 2 D M) + 2 T^2 D) + D classes.
  patches, width, depth, mlp_dim = 256, 1664, 48, 8192
  tokens = patches + 1
  block = tokens * (4 * width**2 + 2 * width * mlp_dim) + 2 * tokens**2 * width
  macs = patches * 14**2 * 3 * width + depth * block + width * 1000
  (forward,) = row(text, 'FLOPs per image, forward')
  assert int(forward.replace(',', '')) == 2 * macs
  (training,) = row(text, 'FLOPs per image, training')
  assert int(training.replace(',', '')) == 6 * macs


def test_what_does_not_divide_is_told(text):
  assert 'stem/embedding/kernel' in text
  config = schema.default()
  config.model.name = 'ViT-Ti/16'
  config.mesh.tensor = 2
  config.run.num_steps = 20_000
  told = inspection.text(config, num_devices=2, platform='cpu')
  assert 'tensor=2 does not divide 3' in told


def test_what_computes_attention_is_told(text):
  assert 'attention is computed by xla (it needs model.dtype=bfloat16' in text


@pytest.mark.parametrize('name', ['Mixer-S/16', 'BiT-R50x1'])
def test_models_without_attention_are_shown(name):
  config = schema.default()
  config.model.name = name
  config.run.num_steps = 20_000
  assert 'attention is' not in inspection.text(
    config, num_devices=1, platform='cpu'
  )


def test_layers_in_a_loop_are_rows_of_their_own():
  config = schema.default()
  config.model.update(name='ViT-Ti/16', scan=True, dtype='bfloat16')
  config.optimizer.ema_decay = 0.999
  config.optimizer.decay_rules = (('encoder/block_0/.*', 1.0), ('.*', 0.0))
  config.run.num_steps = 20_000
  told = inspection.text(config, num_devices=1, platform='cpu')
  kernel = row(told, 'encoder/blocks/mlp/hidden/kernel ')
  assert ' '.join(kernel) == '12 x 192 x 768 float32 - x - x - by layer yes'
  assert 'xla (it needs an NVIDIA GPU' in told
  (params,) = row(told, 'bytes per device, parameters')
  assert row(told, 'bytes per device, average') == [params]
  config.model.attention = 'cudnn'
  config.model.dtype = 'float32'
  with pytest.raises(
    errors.UserError, match=r'model\.attention=cudnn does not'
  ):
    inspection.text(config, num_devices=1, platform='cpu')


def test_an_impossible_mesh_is_refused():
  config = schema.default()
  config.run.num_steps = 20_000
  config.mesh.fsdp = 3
  with pytest.raises(errors.UserError, match='does not divide the 128 device'):
    inspection.text(config, num_devices=128, platform='cpu')
