"""What is written is what other readers expect, whole or not at all."""

import json

import ml_dtypes
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.weights import card as cards
from vit_jax.weights import publishing, torch_config
from vit_jax.weights.files import npz, safetensors, weights_file

ARRAYS = {
  'b/kernel': np.arange(6, dtype=np.float32).reshape(2, 3),
  'a/bias': np.arange(5, dtype=np.float16),
  'scalar': np.float32(3),
  'view': np.arange(12, dtype=np.float32).reshape(3, 4).T,
}
SIZES = publishing.Sizes(384, 12, 6, 1536, 16)


def make_card(name='ViT-S/16', gelu='tanh', image_size=(224, 224)):
  model = schema.default().model
  model.name, model.gelu = name, gelu
  return cards.Card(model, 10, image_size=image_size)


def read(reader, path):
  with reader(path) as file:
    return {name: np.array(file[name]) for name in file}


def assert_same(given, wanted):
  assert given.keys() == wanted.keys()
  for name, array in wanted.items():
    assert given[name].dtype == array.dtype
    np.testing.assert_array_equal(given[name], array, err_msg=name)


def test_an_npz_has_the_bytes_that_numpy_writes(tmp_path):
  npz.save(tmp_path / 'ours.npz', ARRAYS)
  np.savez(tmp_path / 'theirs.npz', **ARRAYS)
  ours, theirs = (tmp_path / f'{who}.npz' for who in ('ours', 'theirs'))
  assert ours.read_bytes() == theirs.read_bytes()
  assert_same(read(npz.NpzFile, ours), ARRAYS)


def test_safetensors_are_read_back(tmp_path):
  arrays = ARRAYS | {'half': np.ones(3, ml_dtypes.bfloat16)}
  path = tmp_path / 'a.safetensors'
  safetensors.save(path, arrays, {'format': 'pt'})
  assert_same(read(safetensors.SafetensorsFile, path), arrays)
  raw = path.read_bytes()
  length = int.from_bytes(raw[:8], 'little')
  header = json.loads(raw[8 : 8 + length])
  assert length % 8 == 0
  assert header.pop('__metadata__') == {'format': 'pt'}
  for name, entry in header.items():  # Aligned, so that readers may map it.
    assert entry['data_offsets'][0] % arrays[name].dtype.itemsize == 0


@pytest.mark.parametrize('save', [npz.save, safetensors.save])
@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'../a': np.ones(1)}, 'no path of a parameter'),
    ({'a': np.ones((0, 2))}, 'which no parameter has'),
    ({'a': np.array(['text'])}, 'dtype'),
  ],
)
def test_nothing_is_written_that_would_not_be_read(
  save, arrays, message, tmp_path
):
  with pytest.raises(errors.UserError, match=message):
    save(tmp_path / 'a', arrays)
  assert not list(tmp_path.iterdir())


def test_what_was_there_stays_where_writing_fails(tmp_path):
  path = tmp_path / 'a.npz'
  path.write_text('before')
  with pytest.raises(ZeroDivisionError), weights_file.replacing(path) as file:
    file.write(b'half')
    raise ZeroDivisionError
  assert path.read_text() == 'before'
  assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_can_not_be_written_is_told(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(weights_file.WeightsFileError, match='can not be written'):
    npz.save(tmp_path / 'file/a.npz', ARRAYS)


@pytest.mark.parametrize(
  ('format_name', 'target', 'message'),
  [
    ('gogle', 'a.npz', r"--to='gogle' is unknown\. Did you mean google"),
    ('google', 'a.safetensors', r'should end in \.npz'),
    ('google', 'a.npz', 'has no place for strange/bias'),
    ('huggingface', 'a', 'has no place for strange/bias'),
    ('timm', 'a', 'has encoder/position_embedding/embedding, which this'),
  ],
)
def test_a_mistake_is_told(format_name, target, message, tmp_path):
  params = {
    'class_token': np.ones((1, 1, 4)),
    'strange': {'bias': np.ones(1)},
  }
  if target.endswith('.safetensors'):
    del params['strange']
  if format_name != 'timm':
    params['encoder'] = {
      'position_embedding': {'embedding': np.ones((1, 5, 4))}
    }
  with pytest.raises(errors.UserError, match=message):
    publishing.save(tmp_path / target, format_name, params, make_card(), SIZES)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['Mixer-S/16', 'BiT-R50x1'])
def test_transformers_has_no_mixer_and_no_bit(name):
  with pytest.raises(errors.UserError, match='timm has'):
    publishing.translate({}, 'huggingface', name)


# config.json ------------------------------------------------------------------


@pytest.mark.parametrize('gelu', ['erf', 'tanh'])
@pytest.mark.parametrize('format_name', ['huggingface', 'timm'])
def test_what_a_config_says_is_understood_again(format_name, gelu, tmp_path):
  card = make_card(gelu=gelu, image_size=(224, 384))
  files = torch_config.files(format_name, card, SIZES)
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(files['config.json']))
  told = torch_config.read(tmp_path, format_name)
  assert (told.gelu, told.norm_epsilon) == (gelu, 1e-6)
  assert (told.num_heads, told.image_size) == (6, (224, 384))


def test_without_a_config_defaults_are_those_of_the_project(tmp_path):
  assert torch_config.read(tmp_path, 'huggingface').norm_epsilon == 1e-12
  assert torch_config.read(tmp_path, 'timm').norm_epsilon == 1e-6


@pytest.mark.parametrize(
  ('format_name', 'config', 'message'),
  [
    ('huggingface', '{"model_type": "deit"}', "are of a 'deit'"),
    ('huggingface', '{"hidden_act": "relu"}', "hidden_act='relu' is unknown"),
    ('huggingface', '{"qkv_bias": false}', 'qkv_bias=False is not'),
    ('huggingface', '{"num_attention_heads": "x"}', "heads='x' is no number"),
    ('huggingface', '[1]', 'is no JSON object'),
    ('huggingface', '{"image_size": [1, 2, 3]}', 'no size of an image'),
    ('timm', '{"pretrained_cfg": {"mean": [0.485]}}', 'not of 3 channels'),
    ('timm', '{"model_args": {"act_layer": "swish"}}', "'swish' is unknown"),
    ('timm', '{"model_args": {"num_heads": "x"}}', "num_heads='x' is no"),
    ('timm', '{"model_args": 3}', 'does not describe'),
    ('timm', '{', 'is no JSON'),
  ],
)
def test_a_config_of_another_model_is_refused(
  format_name, config, message, tmp_path
):
  (tmp_path / 'config.json').write_text(config)
  with pytest.raises(errors.UserError, match=message):
    torch_config.read(tmp_path, format_name)


def test_a_model_that_timm_does_not_have_is_told():
  with pytest.raises(errors.UserError, match='The model for timm'):
    torch_config.files('timm', make_card('R50+ViT-L/16'), SIZES)
