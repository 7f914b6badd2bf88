"""Exported to StableHLO, a model needs JAX alone and computes the same."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import exported_models
import jax
import numpy as np
import pytest

from vit_jax import errors, files
from vit_jax.cli import main
from vit_jax.inference import export
from vit_jax.inference.export import checking, description, stablehlo
from vit_jax.inference.export import program as programs
from vit_jax.weights import preprocessing

# All that a server without this library does.
SERVE = """
import json, pathlib, sys

for name in 'vit_jax', 'flax':
  sys.modules[name] = None  # An import of it is an error.

import jax, jax.export
import numpy as np

folder = pathlib.Path(sys.argv[1])
for path in folder.glob('*.stablehlo'):
  card = json.loads(path.with_name(path.name + '.json').read_text())
  exported = jax.export.deserialize(bytearray(path.read_bytes()))
  assert exported.platforms == ('cpu', 'cuda', 'tpu')
  for count in (1, 3, 8) if path.name.startswith('vit-') else (3,):
    given = np.load(folder / f'{card["input"]["dtype"]}_{count}.npy')
    found = jax.jit(exported.call)(given)
    np.save(folder / f'{path.stem}_{count}.npy', found)
"""
COUNTS = (1, 3, 8)  # Of images.
CASES = [
  ('vit', 'probabilities', 'uint8'),
  ('vit_pooled', 'features', 'uint8'),
  ('scan', 'features', 'float32'),
  ('bfloat16', 'probabilities', 'uint8'),
  ('hybrid', 'probabilities', 'uint8'),
  ('bit', 'logits', 'uint8'),
  ('mixer', 'logits', 'float32'),
]


@pytest.fixture(scope='module')
def models():
  return {name: exported_models.make(name) for name in exported_models.MODELS}


@pytest.fixture(scope='module')
def served(models, tmp_path_factory):
  """A folder of exports, and what a process without vit_jax made of images."""
  folder = tmp_path_factory.mktemp('served')
  for count in COUNTS:
    given = exported_models.images(count)
    np.save(folder / f'uint8_{count}.npy', given)
    pixels = (given / 127.5 - 1).astype(np.float32)
    np.save(folder / f'float32_{count}.npy', pixels)
  for name, output, pixels in CASES:
    models[name].export(
      folder / f'{name}-{output}-{pixels}.stablehlo',
      output=output,
      pixels=pixels,
    )
  environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
  subprocess.run(
    [sys.executable, '-c', SERVE, str(folder)],
    check=True,
    cwd=folder,
    env=environment,
  )
  return folder


@pytest.mark.parametrize(('name', 'output', 'pixels'), CASES)
def test_without_this_library_it_computes_the_same(
  models, served, name, output, pixels
):
  tolerance = 0.02 if name == 'bfloat16' else 1e-5
  for count in COUNTS if name == 'vit' else (3,):
    found = np.load(served / f'{name}-{output}-{pixels}_{count}.npy')
    wanted = exported_models.wanted(
      models[name], exported_models.images(count), output
    )
    assert found.dtype == np.float32 and found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def test_the_card_tells_another_program_all(models, served):
  path = served / 'vit-probabilities-uint8.stablehlo'
  card = json.loads(description.beside(path).read_text())
  data = path.read_bytes()
  assert card['files'] == {
    path.name: {'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
  }
  exported = jax.export.deserialize(bytearray(data))
  (given,), (returned,) = exported.in_avals, exported.out_avals
  for told, aval in (card['input'], given), (card['output'], returned):
    assert told['shape'] == [str(aval.shape[0]), *aval.shape[1:]]
    assert told['dtype'] == aval.dtype
  assert card['input']['shape'][1:3] == list(exported_models.IMAGE_SIZE)
  assert card['input']['range'] == [0, 255]
  assert card['output']['activation'] == 'softmax'
  assert card['classes'] == [f'kind {index}' for index in range(5)]
  values = dict(card['preprocessing'])
  assert len(values.pop('steps')) == 4
  prepared = models['vit'].card.preprocessing
  assert preprocessing.Preprocessing(**values) == prepared


@pytest.mark.parametrize('crop', ['central', 'stretch', 'letterbox'])
@pytest.mark.parametrize('rounding', ['nearest', 'timm', 'transformers'])
def test_all_preparations_can_be_told(models, crop, rounding):
  model = models['vit']
  for resize in preprocessing.resizing.METHODS:
    prepared = preprocessing.Preprocessing(
      crop, resize, 1.0, rounding=rounding, mean=(0.1, 0.2, 0.3)
    )
    program = programs.Program(
      None, {}, model.image_size, 'float32', 'logits', 5, 'float32', 'softmax'
    )
    said = description._preprocessing(program, prepared)
    assert '32 x 64 pixels' in said['steps'][1]
    assert ('padding' in said) == (crop == 'letterbox')


def test_weights_trained_with_the_sigmoid_loss_have_probabilities_of_their_own(
  models,
):
  model = models['vit']
  card = dataclasses.replace(model.card, source={'loss': 'sigmoid'})
  program = programs.build(
    model.params,
    card,
    model.image_size,
    output='probabilities',
    pixels='uint8',
  )
  pictures = exported_models.images(2)
  found = jax.jit(program.call)(pictures)
  logits = exported_models.wanted(model, pictures, 'logits')
  np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-4)
  checked = checking.difference(
    jax.jit(program.call), program, model.module, model.params
  )
  assert checked[0] < 1e-5


def load(path):
  return stablehlo.load(path, None)


def test_without_a_head_there_are_features_only(tmp_path):
  model = exported_models.make('vit', num_classes=0)
  with pytest.raises(errors.UserError, match='no head, and so no probab'):
    model.export(tmp_path / 'a')
  assert not list(tmp_path.iterdir())
  said = model.export(tmp_path / 'a', output='features')
  assert said['classes'] is None and said['output']['shape'][1] == 16


@pytest.fixture
def unlike_the_model(monkeypatch):
  """The file computes something else than the model."""
  forward = checking.predict.forward

  def other(*args):
    logits, features = forward(*args)
    return logits * 1.01, features

  monkeypatch.setattr(checking.predict, 'forward', other)


@pytest.mark.usefixtures('unlike_the_model')
def test_what_differs_from_the_model_is_not_written(models, tmp_path):
  with pytest.raises(errors.UserError, match='differs from the model by'):
    models['vit'].export(tmp_path / 'a', output='logits')
  assert not list(tmp_path.iterdir())


def test_a_model_without_numbers_is_not_written(models, tmp_path):
  model = models['vit']
  broken = jax.tree.map(lambda leaf: leaf * np.nan, model.params)
  with pytest.raises(errors.UserError, match='no finite numbers'):
    model.replace(params=broken).export(tmp_path / 'a')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['a', 'a.json'])
def test_what_is_there_is_not_overwritten(models, tmp_path, name):
  (tmp_path / name).write_text('mine')
  with pytest.raises(errors.UserError, match=f'{name} is there already'):
    models['vit'].export(tmp_path / 'a')
  assert [path.read_text() for path in tmp_path.iterdir()] == ['mine']


def test_a_disk_that_is_full_keeps_nothing(models, tmp_path, monkeypatch):
  def full(*_):
    raise errors.UserError('a.json can not be written: the disk is full.')

  monkeypatch.setattr(description, 'write', full)
  monkeypatch.setattr(checking, 'difference', lambda *_: (0.0, 8))
  with pytest.raises(errors.UserError, match='full'):
    models['vit'].export(tmp_path / 'a')
  assert not list(tmp_path.iterdir())


def test_what_a_file_can_not_hold_is_refused_before_work(
  models, tmp_path, monkeypatch
):
  monkeypatch.setattr(stablehlo, 'MAX_BYTES', 1000)
  monkeypatch.setattr(stablehlo, 'save', None)
  with pytest.raises(errors.UserError, match=r'ViT-S/16, a ViT, can not be'):
    models['vit'].export(tmp_path / 'a')


def test_a_missing_package_is_named_with_the_extra(
  models, tmp_path, monkeypatch
):
  monkeypatch.setattr(stablehlo, 'PACKAGES', ('json', 'not_there.at_all'))
  with pytest.raises(
    errors.UserError, match=r'needs not_there.at_all: .*vit_jax\[export\]'
  ):
    models['vit'].export(tmp_path / 'a')


@pytest.mark.parametrize(
  ('wrong', 'line'),
  [
    ({'to': 'onxn'}, 'Did you mean onnx'),
    ({'output': 'logit'}, 'Did you mean logits'),
    ({'pixels': 'float16'}, 'Did you mean float32'),
  ],
)
def test_an_unknown_choice_is_refused_by_name(models, tmp_path, wrong, line):
  with pytest.raises(errors.UserError, match=line):
    models['vit'].export(tmp_path / 'a', **wrong)


def test_parameters_of_another_size_are_refused(models, tmp_path):
  model = models['vit']
  with pytest.raises(errors.UserError, match='position_embedding'):
    export.write(
      tmp_path / 'a', model.module, model.params, model.card, (64, 64)
    )


@pytest.fixture(scope='module')
def saved(models, tmp_path_factory):
  """Weights as users have them: a folder and a file as it is released."""
  folder = tmp_path_factory.mktemp('saved')
  models['vit'].save(folder / 'run folder')
  square = exported_models.make('vit', image_size=(64, 64))
  square.save(folder / 'released.npz', 'google')
  return folder


def command(*arguments):
  return main.main(['export', *map(str, arguments), '--to=stablehlo'])


def test_the_command_exports_a_folder(models, saved, tmp_path, capsys):
  target = tmp_path / 'new folder/a b'
  assert command(saved / 'run folder', target) == 0
  first, second, third = capsys.readouterr().out.splitlines()
  assert 'ViT-S/16, uint8 batchx32x64x3 to probabilities batchx5' in first
  assert second == f'{target}.json: its card'
  assert third.startswith('largest difference from the model: ')
  pictures = exported_models.images(2)
  np.testing.assert_allclose(
    load(target)(pictures),
    exported_models.wanted(models['vit'], pictures),
    rtol=1e-4,
  )
  assert command(saved / 'run folder', target) == 2
  assert 'is there already' in capsys.readouterr().err


def test_the_command_resizes_positions_once(saved, tmp_path, capsys):
  np.save(tmp_path / 'x.npy', np.zeros((1, 32, 64, 3), np.float32))
  weights = saved / 'released.npz'
  fields = [
    f'--checkpoint={weights}',
    f'--input={tmp_path / "x.npy"}',
    f'--logits={tmp_path / "logits.npy"}',
  ]
  assert main.main(['predict', *fields]) == 0
  assert (
    command(
      weights,
      tmp_path / 'a',
      '--resolution=32x64',
      '--returns=logits',
      '--pixels=float32',
    )
    == 0
  )
  assert '32x64x3 to logits' in capsys.readouterr().out
  np.testing.assert_allclose(
    load(tmp_path / 'a')(np.load(tmp_path / 'x.npy')),
    np.load(tmp_path / 'logits.npy'),
    rtol=1e-4,
    atol=1e-5,
  )


def test_the_command_computes_in_another_dtype(saved, tmp_path):
  assert command(saved / 'run folder', tmp_path / 'a', '--dtype=bfloat16') == 0
  card = files.read_json(tmp_path / 'a.json')
  assert card['computes_in'] == 'bfloat16'
  assert card['configuration']['dtype'] == 'bfloat16'


def test_pictures_are_of_all_kinds():
  pictures = checking.pictures((48, 32), 8)
  assert pictures.shape == (8, 48, 32, 3) and pictures.dtype == np.uint8
  assert len({picture.tobytes() for picture in pictures}) == 8
