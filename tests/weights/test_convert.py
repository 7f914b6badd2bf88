"""Weights go from any format to any other and come back the same."""

import dataclasses
import json

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.cli import main
from vit_jax.config import schema
from vit_jax.weights import card as cards
from vit_jax.weights import convert, loading, mapping, preprocessing
from vit_jax.weights.files import download, npz, safetensors
from vit_jax.weights.tables import bit, mixer, vit

TINY = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}
# Google's .npz to each of the others, and which of them lose nothing. The
# class token of big_vision has its position embedding added.
TARGETS = {
  'google': 'out.npz',
  'big_vision': 'out.npz',
  'huggingface': 'out',
  'timm': 'out',
  'orbax': 'out',
}


def save(path, name='ViT-B/16', rows=None, num_classes=7, side=32, **fields):
  """Writes a small random model and returns its parameters, flat."""
  config = schema.default()
  config.model.update(name=name, **fields)
  model = models.build(config.model, num_classes)
  shapes = pytrees.flatten(models.params_of(model, (side, side)))
  rng = np.random.default_rng(0)
  flat = {
    path: 0.3 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  npz.save(path, mapping.to_theirs(flat, rows or vit.rows()))
  return flat


def logits(checkpoint, folder, side=32):
  pixels = np.random.default_rng(1).uniform(-1, 1, (2, side, side, 3))
  np.save(folder / 'batch.npy', pixels.astype(np.float32))
  arguments = (
    f'--checkpoint={checkpoint}',
    f'--input={folder}/batch.npy',
    f'--logits={folder}/logits.npy',
  )
  assert main.main(['predict', *arguments]) == 0
  return np.load(folder / 'logits.npy')


@pytest.mark.parametrize('to', TARGETS)
def test_every_format_computes_the_same_and_comes_back(to, tmp_path, capsys):
  source, target = tmp_path / 'a.npz', tmp_path / TARGETS[to]
  flat = save(source, **TINY)
  assert main.main(['convert', str(source), str(target), f'--to={to}']) == 0
  assert 'ViT-B/16, 7 classes, 32 x 32 pixels' in capsys.readouterr().out
  np.testing.assert_allclose(
    logits(target, tmp_path), logits(source, tmp_path), rtol=1e-5, atol=1e-6
  )
  back = tmp_path / 'back.npz'
  convert.run(str(target), str(back), 'google')
  if to == 'big_vision':
    found = loading.find(str(back))
    params, _ = found.load(
      pytrees.unflatten(
        {p: jax.ShapeDtypeStruct(x.shape, x.dtype) for p, x in flat.items()}
      )
    )
    token = (
      flat['class_token']
      + (flat['encoder/position_embedding/embedding'][:, :1])
    )
    np.testing.assert_array_equal(params['class_token'], token)
  else:
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.parametrize('to', ['timm', 'huggingface'])
def test_other_pixels_are_unfolded_and_folded_again(to, tmp_path, capsys):
  source, run, target = (tmp_path / name for name in ('a.npz', 'run', 'out'))
  save(source, **TINY)
  convert.run(str(source), str(run), 'orbax')
  card = loading.find(str(run)).card
  prepared = preprocessing.Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
  )
  cards.write(run, dataclasses.replace(card, preprocessing=prepared))
  convert.run(str(run), str(target), to)
  name = {
    'timm': 'patch_embed.proj.weight',
    'huggingface': 'vit.embeddings.patch_embeddings.projection.weight',
  }[to]
  with safetensors.SafetensorsFile(target / 'model.safetensors') as file:
    theirs = np.asarray(file[name])  # [width, 3, rows, columns]
  with npz.NpzFile(source) as file:
    ours = np.asarray(file['embedding/kernel']).transpose(3, 2, 0, 1)
  std = np.array(prepared.std)[:, None, None]
  np.testing.assert_allclose(theirs, ours * 2 * std, rtol=1e-6)
  np.testing.assert_allclose(
    logits(target, tmp_path), logits(source, tmp_path), rtol=1e-5, atol=1e-5
  )
  capsys.readouterr()
  convert.run(str(target), str(tmp_path / 'back.npz'), 'google')
  assert 'pixels in [-1, 1]' in capsys.readouterr().err
  np.testing.assert_allclose(
    logits(tmp_path / 'back.npz', tmp_path),
    logits(source, tmp_path),
    rtol=1e-5,
    atol=1e-5,
  )


@pytest.mark.parametrize(
  ('name', 'rows', 'fields'),
  [
    ('Mixer-S/16', mixer.rows(), {'depth': 2, 'width': 8, 'mlp_dim': 12}),
    ('BiT-R50x1', bit.rows(), {}),
    ('R+ViT-Ti/16', vit.rows(), TINY),
  ],
)
@pytest.mark.parametrize('to', ['google', 'timm', 'orbax'])
def test_other_models_come_back_the_same(name, rows, fields, to, tmp_path):
  source, back = tmp_path / 'a.npz', tmp_path / 'back.npz'
  target = tmp_path / TARGETS[to]
  save(source, name, rows, **fields)
  convert.run(str(source), str(target), to)
  if (name, to) == ('Mixer-S/16', 'timm'):  # Its GELU is another there.
    with pytest.raises(errors.UserError, match=r'model\.gelu=erf'):
      convert.run(str(target), str(back), 'google')
    return
  convert.run(str(target), str(back), 'google')
  assert back.read_bytes() == source.read_bytes()


def test_a_size_that_is_no_square_is_told_to_the_reader(tmp_path):
  source, middle = tmp_path / 'a.npz', tmp_path / 'orbax'
  save(source, **TINY)
  convert.run(str(source), str(middle), 'orbax')
  config = json.loads((middle / 'config.json').read_text())
  assert config['data']['resolution'] == [32, 32]
  assert config['model']['pooling'] == 'class_token'


def test_what_a_format_has_no_place_for_can_be_dropped(tmp_path):
  source, target = tmp_path / 'a.npz', tmp_path / 'out'
  save(source, head='pre_logits', **TINY)
  with pytest.raises(errors.UserError, match='no place for head_hidden/bias'):
    convert.run(str(source), str(target), 'timm')
  convert.run(str(source), str(target), 'timm', exclude='head.*')
  found = loading.find(str(target))
  assert found.num_classes == 0
  assert found.model.head == 'linear'


def test_sines_and_cosines_are_written_down_for_timm(tmp_path):
  source, target = tmp_path / 'a.npz', tmp_path / 'out'
  fields = {'pooling': 'average', 'position_embedding': 'sincos_2d'}
  save(source, **fields, **TINY)
  convert.run(str(source), str(target), 'timm')
  assert loading.find(str(target)).model.position_embedding == 'learned_1d'
  # The sizes of the images are told by the file, too.
  assert loading.find(str(target)).image_size == (224, 224)
  np.testing.assert_allclose(
    logits(target, tmp_path, 224),
    logits(source, tmp_path, 224),
    rtol=1e-4,
    atol=1e-5,
  )


def test_what_a_reader_would_make_up_is_refused(tmp_path):
  save(tmp_path / 'a.npz', pooling='average', **TINY)
  with pytest.raises(errors.UserError, match='has class_token, which this'):
    convert.run(str(tmp_path / 'a.npz'), str(tmp_path / 'out'), 'huggingface')
  assert not (tmp_path / 'out').exists()


def test_a_file_that_only_has_the_name_of_a_released_one_is_not_it(tmp_path):
  path = tmp_path / 'ViT-B_16.npz'
  save(path, num_classes=21_843, **TINY)
  assert loading.find(str(path)).card.class_names is None


def test_a_million_bytes_of_names_go_to_transformers(tmp_path, monkeypatch):
  monkeypatch.setattr(download, 'is_far', lambda size, about: False)
  path = tmp_path / 'ViT-B_16.npz'  # The name of Google's file.
  save(path, num_classes=21_843, **TINY)
  convert.run(str(path), str(tmp_path / 'out'), 'huggingface')
  config = json.loads((tmp_path / 'out/config.json').read_text())
  assert config['id2label']['359'] == 'tench, Tinca tinca'
  assert loading.find(str(tmp_path / 'out')).num_classes == 21_843


def test_what_a_folder_does_not_say_is_printed(tmp_path, capsys):
  save(tmp_path / 'a.npz', **TINY)
  for to in 'huggingface', 'timm':
    convert.run(str(tmp_path / 'a.npz'), str(tmp_path / to), to)
  capsys.readouterr()
  for to in 'huggingface', 'timm':
    loading.find(str(tmp_path / to))
  assert not capsys.readouterr().err
  (tmp_path / 'huggingface/preprocessor_config.json').unlink()
  loading.find(str(tmp_path / 'huggingface'))
  assert 'no preprocessor_config.json says' in capsys.readouterr().err
  path = tmp_path / 'timm/config.json'
  config = json.loads(path.read_text())
  del config['num_classes'], config['pretrained_cfg']['num_classes']
  path.write_text(json.dumps(config | {'label_names': ['cat', 'dog']}))
  assert loading.find(str(tmp_path / 'timm')).card.class_names is None
  assert 'names 2 classes, and the head has 7' in capsys.readouterr().err


def test_what_is_there_is_not_overwritten(tmp_path):
  save(tmp_path / 'a.npz', **TINY)
  path = str(tmp_path / 'a.npz')
  with pytest.raises(errors.UserError, match='is there already'):
    convert.run(path, path, 'google')


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'to': 'tim'}, r"--to='tim' is unknown\. Did you mean timm"),
    ({'to': 'timm', 'exclude': 'head('}, 'is no pattern'),
    ({'to': 'timm', 'exclude': 'haed'}, 'matches no parameter'),
    ({'to': 'timm', 'format_name': 'mixer'}, 'of no known layer'),
    ({'to': 'timm', 'model_name': 'ViT-B/32'}, 'do not fit the model'),
  ],
)
def test_a_mistake_is_told(options, message, tmp_path):
  save(tmp_path / 'a.npz', **TINY)
  with pytest.raises(errors.UserError, match=message):
    convert.run(str(tmp_path / 'a.npz'), str(tmp_path / 'out'), **options)
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('source', 'message'),
  [
    ('{}/none.npz', 'is no file, folder or address, and the catalogue'),
    ('augreg/B_17', 'no file of AugReg'),
    ('{}', 'holds no weights'),
  ],
)
def test_a_source_that_is_none_is_told(source, message, tmp_path):
  with pytest.raises(errors.UserError, match=message):
    convert.run(source.format(tmp_path), str(tmp_path / 'out'), 'timm')


def test_a_damaged_orbax_folder_is_told(tmp_path):
  save(tmp_path / 'a.npz', **TINY)
  folder = tmp_path / 'out'
  convert.run(str(tmp_path / 'a.npz'), str(folder), 'orbax')
  for path in (folder / 'params').rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[:3])
  with pytest.raises(errors.UserError, match='holds no parameters'):
    loading.find(str(folder))


def test_orbax_itself_reads_what_is_written(tmp_path):
  flat = save(tmp_path / 'a.npz', **TINY)
  convert.run(str(tmp_path / 'a.npz'), str(tmp_path / 'out'), 'orbax')
  with ocp.StandardCheckpointer() as checkpointer:
    params = pytrees.flatten(checkpointer.restore(tmp_path / 'out/params'))
  for path, array in flat.items():
    np.testing.assert_array_equal(params[path], array)
