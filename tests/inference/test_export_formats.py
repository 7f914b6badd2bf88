"""ONNX and SavedModel compute what the model does, of every family.

The packages are large: `make onnx` and `make savedmodel` install them apart.
"""

import exported_models
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.inference import export

PACKAGES = {'onnx': 'jax2onnx', 'savedmodel': 'tensorflow'}
FAMILIES = [name for name in exported_models.MODELS if name != 'bfloat16']


def require(to):
  pytest.importorskip(
    PACKAGES[to], reason=f'`make {to}` installs it and runs this'
  )


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('to', ['onnx', 'savedmodel'])
def test_every_family_computes_the_same(name, to, tmp_path):
  require(to)
  model = exported_models.make(name)
  path = tmp_path / f'model.{to}'
  said = model.export(path, to)
  assert said['files'] and said['classes'][0] == 'kind 0'
  check(model, path, to)


@pytest.mark.parametrize('output', ['logits', 'features'])
@pytest.mark.parametrize('to', ['onnx', 'savedmodel'])
def test_other_outputs_of_floats(output, to, tmp_path):
  require(to)
  model = exported_models.make('vit')
  path = tmp_path / f'model.{to}'
  model.export(path, to, output=output, pixels='float32')
  check(model, path, to, output, 'float32')


def check(model, path, to, output='probabilities', pixels='uint8'):
  """Runs what was written as its users do."""
  for count in 1, 3, 8:
    pictures = exported_models.images(count)
    given = pictures
    if pixels == 'float32':
      given = (pictures / 127.5 - 1).astype(np.float32)
    found = RUN[to](path, given, output)
    wanted = exported_models.wanted(model, pictures, output)
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def run_onnx(path, given, output):
  import onnxruntime

  session = onnxruntime.InferenceSession(str(path))
  return session.run([output], {'images': given})[0]


def run_savedmodel(path, given, output):
  import tensorflow

  model = tensorflow.saved_model.load(str(path))
  call = model.signatures['serving_default']
  return call(images=tensorflow.constant(given))[output].numpy()


RUN = {'onnx': run_onnx, 'savedmodel': run_savedmodel}


def test_bfloat16_is_refused_by_name_in_onnx(tmp_path, monkeypatch):
  monkeypatch.setattr(export.onnx, 'PACKAGES', ())
  model = exported_models.make('bfloat16')
  with pytest.raises(
    errors.UserError, match=r'ViT-S/16, a ViT, .* to onnx: .*--dtype=float32'
  ):
    model.export(tmp_path / 'a', 'onnx')
  assert not list(tmp_path.iterdir())


def test_savedmodel_keeps_bfloat16(tmp_path):
  require('savedmodel')
  said = exported_models.make('bfloat16').export(tmp_path / 'a', 'savedmodel')
  assert said['computes_in'] == 'bfloat16'
