"""A path in a configuration means the same from every folder."""

import json

import pytest

from vit_jax import errors
from vit_jax.cli import flags
from vit_jax.config import paths, recipes, schema

RECIPE = """
from vit_jax.config import schema

def get_config(data='photos', source='folder', init='none'):
  config = schema.default()
  config.data.source, config.data.dataset = source, data
  config.init = None if init == 'none' else init
  config.run.num_steps, config.optimizer.warmup_steps = 2, 0
  return config
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
  """The current folder, which is the home directory too, with a recipe."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'recipe.py').write_text(RECIPE)
  for name in 'photos', 'more', 'shots@2', 'run':
    (tmp_path / name).mkdir()
  return tmp_path


@pytest.mark.parametrize(
  ('source', 'given', 'wanted'),
  [
    ('folder', 'photos', '{}/photos'),
    ('folder', '~/photos', '{}/photos'),
    ('folder', './more/../photos', '{}/photos'),
    ('folder', 'not_yet', '{}/not_yet'),
    ('folder', 'shots@2', '{}/shots@2'),
    ('folder', '~/photos@2+more@0.5', '{}/photos@2+{}/more@0.5'),
    ('folder', '/elsewhere', '/elsewhere'),
    ('folder', 'gs://bucket/photos', 'gs://bucket/photos'),
    ('arrays', '~/set.npz', '{}/set.npz'),
    ('tfds', 'photos', 'photos'),
  ],
)
def test_a_data_set_on_the_disk_is_an_absolute_path(
  place, source, given, wanted
):
  config = recipes.load(
    f'recipe.py:source={source}', [f'--config.data.dataset={given}']
  )
  assert config.data.dataset == wanted.format(place, place)


@pytest.mark.parametrize(
  ('given', 'wanted'),
  [
    ('run', '{}/run'),
    ('~/run:best', '{}/run:best'),
    ('augreg/B_16', 'augreg/B_16'),
    ('https://host/a.npz#00', 'https://host/a.npz#00'),
    ('~/none.npz', '{}/none.npz'),
  ],
)
def test_weights_to_start_from_are_a_path_only_if_they_exist(
  place, given, wanted
):
  config = recipes.load('recipe.py', [f'--config.init={given}'])
  assert config.init == wanted.format(place)


def test_the_folder_of_tfds_is_a_path(place):
  config = recipes.load('recipe.py', ['--config.data.data_dir=~/tfds'])
  assert config.data.data_dir == f'{place}/tfds'


def test_a_saved_config_is_read_from_any_folder(place, monkeypatch):
  config = schema.default()
  config.data.source, config.data.dataset = 'folder', 'photos'
  recipes.save(config, place / 'run')
  assert config.data.dataset == 'photos'
  monkeypatch.chdir(place / 'more')
  again = recipes.load(str(place / 'run/config.json'))
  assert again.data.dataset == f'{place}/photos'
  recipes.check_same(again, place / 'run')


def test_a_relative_spelling_is_the_same_run(place):
  config = recipes.load('recipe.py', ['--config.data.data_dir=tfds'])
  recipes.save(config, place / 'run')
  stored = json.loads((place / 'run/config.json').read_text())
  stored['data']['dataset'] = 'photos'  # As older versions wrote it.
  (place / 'run/config.json').write_text(json.dumps(stored))
  recipes.check_same(config, place / 'run')


def test_data_on_the_disk_may_move_and_no_others(place):
  for source, may in ('folder', True), ('arrays', True), ('tfds', False):
    spec = f'recipe.py:source={source}'
    recipes.save(recipes.load(spec), place / source)
    moved = recipes.load(spec, ['--config.data.dataset=more'])
    if may:
      recipes.check_same(moved, place / source)
    else:
      with pytest.raises(errors.UserError, match=r'data\.dataset'):
        recipes.check_same(moved, place / source)
  with pytest.raises(errors.UserError, match=r'data\.source'):
    recipes.check_same(
      recipes.load('recipe.py:source=arrays'), place / 'folder'
    )


# Flags that take neither a path nor anything that may be one.
NO_PATHS = {
  *('config', 'analysis', 'result', 'dry-run', 'cells', 'model', 'resolution'),
  *('position_resize', 'top', 'to', 'from', 'exclude', 'topology', 'mesh'),
  *('mfu', 'price', 'coordinator', 'num_processes', 'process_id', 'devices'),
  *('evaluators', 'split', 'train_split', 'batch_size', 'shots', 'sweep'),
  *('seeds', 'suite', 'held_out', 'evaluate', 'num_images'),
  *('list', 'pattern', 'shell', 'format', 'json', 'push', 'private', 'task'),
  *('returns', 'pixels', 'dtype', 'layers', 'max-megabytes'),
}


def test_every_flag_that_takes_a_path_expands_the_home_directory(place):
  for name in flags.FLAGS.keys() - NO_PATHS:
    assert flags.FLAGS[name].type('~/a b') == f'{place}/a b', name
    assert flags.FLAGS[name].type('augreg/B_16') == 'augreg/B_16'
  assert recipes.find('~/recipe.py') == place / 'recipe.py'
  assert paths.expand('a~b') == 'a~b'
