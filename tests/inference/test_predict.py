"""`vit_jax predict`: released weights in, known logits out."""

import json
import os
import pathlib
import re
import runpy

import cv2
import jax
import numpy as np
import pytest

from vit_jax import models, pytrees
from vit_jax.cli import main
from vit_jax.config import schema
from vit_jax.weights import mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
CASES = {'ti16': 'ViT-Ti/16', 'b32': 'ViT-B/32', 'r26s32': 'R26+ViT-S/32'}
TINY = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}


RULES = runpy.run_path(str(GOLDEN / 'weights.py'))


def save(path, num_classes=7, side=32, **fields):
  """Writes a small random model as Google's .npz; returns model and tree."""
  config = schema.default()
  config.model.update(name='ViT-B/16', **(TINY | fields))
  model = models.build(config.model, num_classes)
  shapes = pytrees.flatten(models.params_of(model, (side, side)))
  rng = np.random.default_rng(0)
  flat = {
    path: 0.3 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  npz.save(path, mapping.to_theirs(flat, vit.rows()))
  return model, pytrees.unflatten(flat)


def logits_of(model, params, pixels):
  with jax.default_matmul_precision('highest'):
    return model.apply({'params': params}, pixels, train=False).logits


def run(*arguments):
  return main.main(['predict', *map(str, arguments)])


@pytest.fixture
def tiny(tmp_path):
  """A small model in a.npz; returns (model, params)."""
  return save(tmp_path / 'a.npz')


def write_image(path, seed=0, shape=(40, 60, 3)):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
  cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize('case', CASES)
def test_logits_are_those_of_the_original_implementation(case, tmp_path):
  facts = json.loads((GOLDEN / f'{case}.json').read_text())
  side = facts['evaluated_at']
  npz.save(tmp_path / 'a.npz', RULES['tree'](facts['shapes']))
  np.save(tmp_path / 'batch.npy', RULES['images'](2, side, side))
  status = run(
    f'--checkpoint={tmp_path / "a.npz"}',
    f'--model={CASES[case]}',
    f'--input={tmp_path / "batch.npy"}',
    f'--logits={tmp_path / "logits.npy"}',
    f'--features={tmp_path / "features.npy"}',
  )
  with np.load(GOLDEN / f'{case}.npz') as file:
    (wanted,) = (file[name] for name in file.files)
  logits = np.load(tmp_path / 'logits.npy')
  assert status == 0
  assert logits.dtype == np.float32
  assert np.abs(logits - wanted).max() < 1e-5 * np.abs(wanted).max()
  features = np.load(tmp_path / 'features.npy')
  assert features.shape[0] == 2
  head = RULES['tree'](
    {n: s for n, s in facts['shapes'].items() if n.startswith('head/')}
  )
  again = features @ head['head/kernel'] + head['head/bias']
  np.testing.assert_allclose(again, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('shape', [(384, 384), (224, 384)])
def test_weights_for_384_pixels_work_at_384_and_off_the_square(shape, tmp_path):
  model, params = save(tmp_path / 'a.npz', side=384)
  pixels = RULES['images'](1, *shape)
  np.save(tmp_path / 'batch.npy', pixels)
  arguments = (
    f'--checkpoint={tmp_path / "a.npz"}',
    f'--input={tmp_path / "batch.npy"}',
    f'--logits={tmp_path / "logits.npy"}',
  )
  assert run(*arguments) == 0
  logits = np.load(tmp_path / 'logits.npy')
  if shape == (384, 384):
    wanted = logits_of(model, params, pixels)
    np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-6)
  assert run(*arguments, '--resolution=224x384') == (2 if shape[0] > 224 else 0)


def test_images_of_a_folder_are_named_with_their_classes(
  tiny, tmp_path, capsys
):
  for number in range(3):
    write_image(tmp_path / f'photos/{number}/x.png', number)
  status = run(
    f'--checkpoint={tmp_path / "a.npz"}',
    f'--input={tmp_path / "photos"}',
    '--top=2',
  )
  lines = capsys.readouterr().out.splitlines()
  assert status == 0
  assert len(lines) == 9
  assert lines[::3] == [f'{tmp_path}/photos/{n}/x.png' for n in range(3)]
  assert lines[1].endswith(tuple(f'class {index}' for index in range(7)))
  first, second = (float(line.split('%')[0]) for line in lines[1:3])
  assert first >= second > 0


def test_more_images_than_a_batch_give_what_each_gives_alone(tiny, tmp_path):
  names = [tmp_path / f'photos/{n:02}.png' for n in range(11)]
  for number, name in enumerate(names):
    write_image(name, number)
  common = (f'--checkpoint={tmp_path / "a.npz"}', f'--logits={tmp_path}/l.npy')
  run(f'--input={tmp_path / "photos"}', *common)
  together = np.load(tmp_path / 'l.npy')
  assert together.shape == (11, 7)
  for number in 0, 10:
    run(f'--input={names[number]}', *common)
    np.testing.assert_allclose(
      np.load(tmp_path / 'l.npy')[0], together[number], rtol=1e-5, atol=1e-6
    )
  run(f'--input={names[3]},{names[5]}', *common)
  np.testing.assert_allclose(
    np.load(tmp_path / 'l.npy'), together[[3, 5]], rtol=1e-5, atol=1e-6
  )


def bomb(path):
  """A PNG of a few hundred bytes that claims 400 million pixels."""
  write_image(path, shape=(8, 8, 3))
  raw = bytearray(path.read_bytes())
  raw[16:24] = (20_000).to_bytes(4, 'big') * 2  # Of IHDR.
  path.write_bytes(raw)


def test_a_broken_image_and_a_bomb_are_named_and_the_rest_is_classified(
  tiny, tmp_path, capsys
):
  photos = tmp_path / 'photos'
  write_image(photos / 'a.png')
  write_image(photos / 'b.jpg')
  raw = (photos / 'b.jpg').read_bytes()
  (photos / 'b.jpg').write_bytes(raw[: len(raw) // 2])
  bomb(photos / 'c.png')
  (photos / 'd.jpg').write_bytes(b'')
  write_image(photos / 'e.png', 1)
  status = run(
    f'--checkpoint={tmp_path / "a.npz"}',
    f'--input={photos}',
    '--top=1',
    f'--logits={tmp_path}/l.npy',
  )
  output = capsys.readouterr()
  assert status == 1
  assert output.out.splitlines()[::2] == [f'{photos}/a.png', f'{photos}/e.png']
  for name in 'b.jpg', 'c.png', 'd.jpg':
    assert f'vit_jax: {photos / name}: ' in output.err
  bad = np.isnan(np.load(tmp_path / 'l.npy')).all(1)
  assert bad.tolist() == [False, True, True, True, False]


def test_weights_without_a_head_give_features_only(tmp_path, capsys):
  save(tmp_path / 'a.npz', num_classes=0)
  np.save(tmp_path / 'batch.npy', RULES['images'](1, 32, 32))
  common = (
    f'--checkpoint={tmp_path / "a.npz"}',
    f'--input={tmp_path / "batch.npy"}',
  )
  assert run(*common, f'--features={tmp_path}/f.npy') == 0
  assert np.load(tmp_path / 'f.npy').shape == (1, 8)
  assert run(*common) == 2
  assert 'These weights have no head' in capsys.readouterr().err


def array(path, pixels):
  np.save(path, pixels)
  return path


@pytest.mark.parametrize(
  ('pixels', 'message'),
  [
    (np.zeros((1, 32, 32, 3)), r'is float64 \[1, 32, 32, 3\]; pixels are'),
    (np.zeros((32, 32, 3), np.float32), r'is float32 \[32, 32, 3\]'),
    (np.full((1, 32, 32, 3), 255, np.float32), r'outside of \[-1, 1\]'),
    (np.full((1, 32, 32, 3), np.nan, np.float32), r'outside of \[-1, 1\]'),
    (np.zeros((0, 32, 32, 3), np.float32), r'is float32 \[0, 32, 32, 3\]'),
    (np.zeros((1, 40, 32, 3), np.float32), 'not a multiple of the 16 pixels'),
    (np.array([None]), 'is no .npy of numbers'),
  ],
)
def test_an_array_that_is_no_images_is_refused(
  tiny, tmp_path, pixels, message, capsys
):
  path = array(tmp_path / 'batch.npy', pixels)
  assert run(f'--checkpoint={tmp_path / "a.npz"}', f'--input={path}') == 2
  output = capsys.readouterr()
  assert re.search(message, output.err)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (('--input={}/none.jpg',), 'there is no such file or folder'),
    (('--input={}/empty',), 'holds no images'),
    (('--input={}/a.png', '--logits=l.txt'), 'should end in .npy'),
    (('--input={}/a.png', '--model=ViT-S/16'), 'do not fit the model'),
    (('--input={}/a.png', '--resolution=40'), 'not a multiple of the 16'),
    (('--input={}/a.png', '--resolution=4x4x4'), 'nor rows x columns'),
  ],
)
def test_a_mistake_is_told(tiny, tmp_path, arguments, message, capsys):
  write_image(tmp_path / 'a.png')
  (tmp_path / 'empty').mkdir()
  arguments = [argument.format(tmp_path) for argument in arguments]
  assert run(f'--checkpoint={tmp_path / "a.npz"}', *arguments) == 2
  assert message in capsys.readouterr().err


def test_the_class_token_of_a_gap_model_is_not_missed(tmp_path):
  save(tmp_path / 'a.npz', pooling='average')
  np.save(tmp_path / 'batch.npy', RULES['images'](1, 32, 32))
  assert (
    run(
      f'--checkpoint={tmp_path / "a.npz"}',
      f'--input={tmp_path / "batch.npy"}',
    )
    == 0
  )


def test_json_has_a_line_per_image_whatever_its_name(tiny, tmp_path, capsys):
  names = ['a\nb.png', os.fsdecode(b'\xff.png')]
  for name in names:
    write_image(tmp_path / 'plain.png')
    (tmp_path / 'plain.png').rename(tmp_path / name)
  (tmp_path / 'bad.png').write_text('no image')
  paths = [str(tmp_path / name) for name in (*names, 'bad.png')]
  assert run(tmp_path / 'a.npz', *paths, '--top=2', '--json') == 1
  captured = capsys.readouterr()
  rows = [json.loads(line) for line in captured.out.splitlines()]
  assert [row['file'] for row in rows] == paths
  assert [len(row['classes']) for row in rows] == [2, 2, 0]
  first, second = rows[0]['classes']
  assert first['class'].startswith('class ')
  assert 1 > first['probability'] >= second['probability'] > 0
  assert rows[0]['problem'] is None and rows[2]['problem'] in captured.err
  # As people read it, they are lines too.
  assert run(tmp_path / 'a.npz', *paths, '--top=2') == 1
  out = capsys.readouterr().out.splitlines()
  assert out[::3] == [f'{tmp_path}/a\ufffdb.png', f'{tmp_path}/\ufffd.png']


def test_arrays_and_data_are_written_together(tiny, tmp_path, capsys):
  write_image(tmp_path / 'a.png')
  features = f'--features={tmp_path / "f.npy"}'
  arguments = tmp_path / 'a.npz', tmp_path / 'a.png', features, '--format=csv'
  assert run(*arguments) == 0
  head, row = capsys.readouterr().out.splitlines()
  assert head == 'file,rank,class,probability,problem'
  assert row == f'{tmp_path}/a.png,,,,'
  assert run(*arguments, '--top=1') == 0
  _, row = capsys.readouterr().out.splitlines()
  assert row.startswith(f'{tmp_path}/a.png,1,class ')


def test_pixels_are_given_alone(tiny, tmp_path, capsys):
  np.save(tmp_path / 'b.npy', np.zeros([1, 32, 32, 3], np.float32))
  write_image(tmp_path / 'a.png')
  assert run(tmp_path / 'a.npz', tmp_path / 'a.png', tmp_path / 'b.npy') == 2
  assert 'is given alone' in capsys.readouterr().err
