"""Files of every format become the same model."""

import json
import struct

import numpy as np
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.weights import fitting, formats, mapping
from vit_jax.weights.files import weights_file
from vit_jax.weights.tables import bit, mixer, vit

GAP = {'pooling': 'average'}
MAP = {'pooling': 'attention'}
ROWS = {
  'google': vit.rows(),
  'big_vision': vit.big_vision_rows(class_token=False),
  'mixer': mixer.rows(),
  'bit': bit.rows(),
  'huggingface': vit.huggingface_rows(),
  'timm': vit.timm_rows(),
}
CASES = [
  ('google', 'ViT-B/16', {}),
  ('google', 'ViT-B/16', GAP),
  ('google', 'R26+ViT-S/32', {}),
  ('big_vision', 'ViT-B/16', GAP),
  ('big_vision', 'ViT-B/16', MAP),
  ('huggingface', 'ViT-B/16', {'head': 'pre_logits'}),
  ('timm', 'ViT-B/16', {}),
]


def save_npz(path, flat):
  np.savez(path, **flat)


def save_safetensors(path, flat):
  header, data = {}, bytearray()
  for name, array in flat.items():
    raw = np.ascontiguousarray(array).tobytes()
    header[name] = {
      'dtype': 'F32',
      'shape': array.shape,
      'data_offsets': [len(data), len(data) + len(raw)],
    }
    data += raw
  header = json.dumps(header).encode()
  path.write_bytes(struct.pack('<Q', len(header)) + header + data)


@pytest.fixture
def save(tmp_path):
  """Returns save(format, {released name: array}), which returns the path."""

  def save(format_name, flat):
    if format_name in ('huggingface', 'timm'):
      path = tmp_path / 'model.safetensors'
      save_safetensors(path, flat)
    else:
      path = tmp_path / 'weights.npz'
      save_npz(path, flat)
    return path

  return save


def load(path, format_name, wanted, **changes):
  params, report = formats.load(
    path, format_name, pytrees.unflatten(wanted), fitting.Changes(**changes)
  )
  return pytrees.flatten(params), report


def assert_same(params, wanted):
  assert params.keys() == wanted.keys()
  for path in wanted:
    np.testing.assert_array_equal(params[path], wanted[path], err_msg=path)


@pytest.mark.parametrize(('format_name', 'name', 'fields'), CASES)
def test_a_file_of_each_format_is_loaded(format_name, name, fields, zoo, save):
  params = zoo.params(zoo.small(name=name, **fields), 32)
  path = save(format_name, mapping.to_theirs(params, ROWS[format_name]))
  loaded, _ = load(path, format_name, params)
  assert_same(loaded, params)


@pytest.mark.parametrize(
  ('format_name', 'rows', 'name', 'fields'),
  [
    ('mixer', mixer.rows(), 'Mixer-S/16', {'depth': 2, 'width': 8}),
    ('timm', mixer.timm_rows(), 'Mixer-S/16', {'depth': 2, 'width': 8}),
    ('timm', bit.timm_rows(), 'BiT-R50x1', {}),
    (
      'timm',
      vit.timm_rows('patch_embed.backbone'),
      'R+ViT-Ti/16',
      {'depth': 1},
    ),
  ],
)
def test_other_models_are_loaded(format_name, rows, name, fields, zoo, save):
  params = zoo.params(zoo.build(name, **fields), 32)
  path = save(format_name, mapping.to_theirs(params, rows))
  loaded, _ = load(path, format_name, params)
  assert_same(loaded, params)


def test_bit_is_loaded_under_both_names_of_a_convolution(zoo, save):
  params = zoo.params(zoo.build('BiT-R50x1'), 32)
  theirs = mapping.to_theirs(params, bit.rows())
  assert 'resnet/block4/unit03/c/group_norm/gamma' in theirs
  assert theirs['resnet/head/conv2d/kernel'].shape == (1, 1, 2048, 5)
  name = 'resnet/block1/unit01/a/standardized_conv2d/kernel'
  theirs[name.replace('conv2d/', 'conv2d_12/')] = theirs.pop(name)
  loaded, _ = load(save('bit', theirs), 'bit', params)
  assert_same(loaded, params)


@pytest.mark.parametrize('prefix', ['opt/target/', 'params/'])
def test_parameters_are_found_among_the_state_of_a_trainer(prefix, zoo, save):
  params = zoo.params(zoo.small(), 32)
  theirs = mapping.to_theirs(params, vit.rows())
  theirs = {prefix + name: array for name, array in theirs.items()}
  theirs['opt/state/step'] = np.int32(7)
  loaded, _ = load(save('google', theirs), 'google', params)
  assert_same(loaded, params)


@pytest.mark.parametrize('numbering', vit.NUMBERING)
def test_both_numberings_are_understood(numbering, zoo, save):
  params = zoo.params(zoo.small(), 32)
  theirs = mapping.to_theirs(params, vit.rows(numbering))
  loaded, _ = load(save('google', theirs), 'google', params)
  assert_same(loaded, params)


def test_one_tower_is_taken_from_a_file_of_two(zoo, save):
  params = zoo.params(zoo.small(**MAP), 32)
  theirs = mapping.to_theirs(params, ROWS['big_vision'])
  theirs = {f'params/img/{name}': array for name, array in theirs.items()}
  theirs['params/txt/head/bias'] = np.ones(3, np.float32)
  path = save('big_vision', theirs)
  loaded, _ = load(f'{path}:img', 'big_vision', params)
  assert_same(loaded, params)
  with pytest.raises(errors.UserError, match="under 'image'; it has img, txt"):
    load(f'{path}:image', 'big_vision', params)


def test_stacked_layers_are_unstacked(zoo, save):
  params = zoo.params(zoo.small(**GAP), 32)
  theirs = mapping.to_theirs(params, ROWS['big_vision'])
  first = 'Transformer/encoderblock_0/'
  for name in [name for name in theirs if name.startswith(first)]:
    leaf = name.removeprefix(first)
    layers = [
      theirs.pop(f'Transformer/encoderblock_{layer}/{leaf}') for layer in (0, 1)
    ]
    theirs[f'Transformer/encoderblock/{leaf}'] = np.stack(layers)
  loaded, _ = load(save('big_vision', theirs), 'big_vision', params)
  assert_same(loaded, params)


def test_a_stack_of_absurd_depth_is_refused(save):
  name = 'Transformer/encoderblock/LayerNorm_0/bias'
  path = save('big_vision', {name: np.ones((1001, 1), np.float32)})
  with pytest.raises(weights_file.WeightsFileError, match='is no stack'):
    load(path, 'big_vision', {})


def test_a_class_token_without_a_row_computes_the_same(zoo, save, weights):
  """Google adds a row to the class token; big_vision has it added already."""
  model = zoo.small()
  params = zoo.params(model, 32)
  theirs = mapping.to_theirs(params, vit.big_vision_rows(class_token=True))
  assert theirs['pos_embedding'].shape == (1, 4, 8)
  loaded, _ = load(save('big_vision', theirs), 'big_vision', params)
  images = weights.images(2, 32, 32)
  np.testing.assert_allclose(
    zoo.logits(model, loaded, images),
    zoo.logits(model, params, images),
    rtol=1e-5,
    atol=1e-5,
  )


def test_bfloat16_weights_are_loaded(zoo, save):
  params = zoo.params(zoo.small(**GAP), 32)
  rounded = {path: leaf.astype('bfloat16') for path, leaf in params.items()}
  theirs = mapping.to_theirs(rounded, ROWS['big_vision'])
  theirs = {name: array.view('V2') for name, array in theirs.items()}
  loaded, _ = load(save('big_vision', theirs), 'big_vision', params)
  assert_same(loaded, {p: x.astype(np.float32) for p, x in rounded.items()})


def test_a_file_is_fitted_on_the_way(zoo, save):
  given = zoo.params(zoo.small(head='pre_logits'), 64)
  wanted = zoo.params(zoo.small(num_classes=2), 32, 64)
  path = save('google', mapping.to_theirs(given, vit.rows()))
  _, report = load(path, 'google', wanted, head='replace', grid=(2, 4))
  assert len(report.resized) == 1
  assert len(report.unused) == 4


def test_nothing_is_read_of_a_file_that_does_not_fit(zoo, save, monkeypatch):
  params = zoo.params(zoo.small(), 32)
  path = save('google', mapping.to_theirs(params, vit.rows()))
  monkeypatch.setattr(formats.npz.NpzFile, '__getitem__', None)
  with pytest.raises(errors.UserError, match='The weights do not fit'):
    load(path, 'google', zoo.shapes(zoo.small(depth=1), 32))


def test_another_format_is_told_by_its_names(zoo, save):
  params = zoo.params(zoo.small(), 32)
  path = save('timm', mapping.to_theirs(params, vit.timm_rows()))
  with pytest.raises(mapping.MappingError, match='- cls_token: of no known'):
    load(path, 'huggingface', params)


def test_an_unknown_format_names_the_nearest():
  with pytest.raises(errors.UserError, match='Did you mean google'):
    load('weights.npz', 'googel', {})


def test_integers_are_no_parameters(save):
  path = save('google', {'head/bias': np.ones(3, np.int32)})
  with pytest.raises(errors.UserError, match='parameters are floats'):
    load(path, 'google', {})


def test_every_family_is_written_in_formats_that_are_read():
  assert formats.WRITERS.keys() == models.FAMILIES.keys()
  for writers in formats.WRITERS.values():
    assert writers.keys() <= formats.FORMATS.keys()
