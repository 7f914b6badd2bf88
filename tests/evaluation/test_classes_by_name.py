"""A model is evaluated on the classes that it knows, whatever their order."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.evaluation import evaluate
from vit_jax.training import train
from vit_jax.weights import convert

COLORS = {'blue': (0, 0, 255), 'green': (0, 255, 0), 'red': (255, 0, 0)}


def write_images(folder, split, names, count=4):
  """Writes squares of a colour into the folders of classes.

  Args:
    names: {name of a class: its colour}.
  """
  for name, color in names.items():
    parent = folder / split / name
    parent.mkdir(parents=True)
    for number in range(count):
      noise = np.random.default_rng(number).integers(-40, 40, (16, 16, 3))
      pixels = np.clip(np.array(color) * 0.8 + 25 + noise, 0, 255)
      Image.fromarray(pixels.astype(np.uint8)).save(parent / f'{number}.png')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run that tells blue from green from red."""
  folder = tmp_path_factory.mktemp('run')
  for split in 'train', 'test':
    write_images(folder / 'set', split, COLORS)
  config = schema.default()
  config.model.name = 'ViT-Ti/8'
  config.model.update({'width': 16, 'depth': 1, 'num_heads': 2, 'mlp_dim': 16})
  config.data.source, config.data.dataset = 'folder', str(folder / 'set')
  config.data.eval_split = 'test'
  config.data.resolution = (16,)
  config.data.train_crop = config.data.eval_crop = 'stretch'
  config.optimizer.learning_rate = 3e-3
  config.optimizer.warmup_steps = 0
  config.run.batch_size, config.run.num_steps = 8, 60
  assert train.run(config, folder / 'run')['accuracy'] == 1
  return folder / 'run'


def accuracy(workdir, folder, **asked):
  report = evaluate.run(workdir, dataset=str(folder), split='test', **asked)
  return report['accuracy']


@pytest.mark.parametrize(
  'names',
  [
    {'Red': 'red', 'blue': 'blue', 'green': 'green'},  # Sorted otherwise.
    {'GREEN': 'green', 'red ': 'red'},  # Some of them.
  ],
)
def test_classes_in_another_order_are_found_by_name(
  workdir, tmp_path, names, capsys
):
  write_images(tmp_path, 'test', {n: COLORS[c] for n, c in names.items()})
  assert accuracy(workdir, tmp_path) == 1
  assert 'matched by name' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (('blue', 'green', 'rouge'), "'rouge'.*lack: 'red'"),
    (('cyan', 'red'), "1 of the 2 .*'cyan'.*lack: 'blue', 'green'"),
    (('blue', 'Blue', 'green'), 'same class of the model'),
  ],
)
def test_classes_that_it_does_not_know_are_refused(
  workdir, tmp_path, names, message
):
  write_images(tmp_path, 'test', dict.fromkeys(names, (0, 0, 0)), count=1)
  with pytest.raises(errors.UserError, match=message):
    accuracy(workdir, tmp_path)


def test_indices_say_nothing_of_names(workdir, tmp_path):
  colors = dict(zip('012', COLORS.values()))
  write_images(tmp_path, 'test', colors)
  assert accuracy(workdir, tmp_path) == 1
  pathlib.Path(tmp_path, 'test/3').mkdir()
  Image.new('RGB', (16, 16)).save(tmp_path / 'test/3/0.png')
  with pytest.raises(errors.UserError, match=r'head of 3 classes.* 4 classes'):
    accuracy(workdir, tmp_path)


def test_numbers_that_are_names_of_the_model_are_found_by_name(
  workdir, tmp_path, capsys
):
  """Folders 0 to n - 1 that another project has sorted as text."""
  path = workdir / 'card.json'
  saved = path.read_text()
  names = ['2', '0', '1']
  try:
    path.write_text(json.dumps(json.loads(saved) | {'class_names': names}))
    write_images(tmp_path, 'test', dict(zip(names, COLORS.values())))
    assert accuracy(workdir, tmp_path) == 1
    assert 'matched by name' in capsys.readouterr().err
  finally:
    path.write_text(saved)


@pytest.mark.parametrize('asked', ['checkpoint', 'workdir'])
def test_an_export_in_our_own_format_is_measured(workdir, tmp_path, asked):
  convert.run(str(workdir), str(tmp_path / 'export'), 'orbax')
  names = {'red': 'red', 'Green': 'green'}
  write_images(tmp_path, 'test', {n: COLORS[c] for n, c in names.items()})
  given = {asked: str(tmp_path / 'export')}
  report = evaluate.run(**given, dataset=str(tmp_path), split='test')
  assert report['accuracy'] == 1
  with pytest.raises(errors.UserError, match='Give --dataset=NAME'):
    evaluate.run(**given)


def test_classes_that_are_matched_by_order_are_told(workdir, tmp_path, capsys):
  write_images(tmp_path / 'numbers', 'test', dict(zip('012', COLORS.values())))
  write_images(tmp_path / 'names', 'test', COLORS)
  npz = str(tmp_path / 'a.npz')  # Which has no place for names.
  convert.run(str(workdir), npz, 'google')
  for checkpoint, folder, word in (
    (npz, 'names', 'its own are called; those of the data are blue'),
    (str(workdir), 'numbers', 'the data number theirs (0, 1, 2)'),
    (str(workdir), 'names', ''),
  ):
    capsys.readouterr()
    evaluate.run(
      checkpoint=checkpoint, dataset=str(tmp_path / folder), split='test'
    )
    told = capsys.readouterr().err
    assert ('matched by their order' in told) == bool(word)
    assert word in told
