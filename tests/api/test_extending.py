"""What a package adds from outside: by `register`, and by entry points."""

import json
import re
import sys

import pytest

import vit_jax
from vit_jax import models
from vit_jax.cli import main
from vit_jax.data import sources
from vit_jax.data.transforms import augmentations
from vit_jax.evaluation import registry

PLUGIN = '''
"""A package that knows this project, and that this project does not know."""

import dataclasses

import numpy as np

import vit_jax
from vit_jax import models
from vit_jax.data.sources import arrays
from vit_jax.evaluation import registry


def build(data, split):
  rng = np.random.default_rng(len(split))
  labels = np.arange(16) % 2
  images = np.full((16, 8, 8, 3), 200, np.uint8) * labels[:, None, None, None]
  return arrays.ArraySource(images.astype(np.uint8), labels, name=split)


def brightness(target):
  source = target.source(target.split)

  def measure(predict, embed):
    batches = target.batches(source)
    total = sum(
      float((batch['image'] * batch['mask'][:, None, None, None]).sum())
      for batch in batches
    )
    return {'brightness': total / len(source) / 192}

  return registry.PreparedEvaluator(measure, {'split': target.split})


def darken(image, rng):
  return image // 2


striped = dataclasses.replace(models.FAMILIES['ViT'], names=('Striped-Ti/4',))


def register():
  vit_jax.register('model', 'Striped', striped)
  vit_jax.register('source', 'stripes', build)
  vit_jax.register('evaluator', 'brightness', brightness)
  vit_jax.register('augmentation', 'darken', darken)
'''

CONFIG = (
  '--config.model.name=Striped-Ti/4',
  '--config.model.width=16',
  '--config.model.depth=1',
  '--config.model.num_heads=1',
  '--config.model.mlp_dim=16',
  '--config.data.source=stripes',
  '--config.data.augmentation=darken',
  '--config.data.resolution=8',
  '--config.optimizer.warmup_steps=0',
  '--config.run.batch_size=8',
  '--config.run.num_steps=2',
)


@pytest.fixture
def site(tmp_path, monkeypatch):
  """A folder as pip installs into, with one plugin that works and one not."""
  for name, source in (('stripes', PLUGIN), ('broken', 'import nothing_such')):
    (tmp_path / f'site/{name}').mkdir(parents=True)
    (tmp_path / f'site/{name}/__init__.py').write_text(source)
    info = tmp_path / f'site/{name}-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Name: {name}\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text(
      f'[vit_jax.plugins]\n{name} = {name}:register\n'
    )
  monkeypatch.syspath_prepend(tmp_path / 'site')
  tables = [
    sources.SOURCES,
    registry.EVALUATORS,
    augmentations.AUGMENTATIONS,
    models.FAMILIES,
  ]
  before = [dict(table) for table in tables]
  yield
  for table, entries in zip(tables, before):
    table.clear()
    table.update(entries)
  sys.modules.pop('stripes', None)


def run(*arguments):
  assert not main.main(list(map(str, arguments)))


@pytest.mark.usefixtures('site', 'undrawn')
def test_the_command_line_knows_an_installed_plugin(tmp_path, capsys):
  (tmp_path / 'recipe.py').write_text(
    'from vit_jax.config import schema\nget_config = schema.default\n'
  )
  workdir = tmp_path / 'run'
  config, place = f'--config={tmp_path / "recipe.py"}', f'--workdir={workdir}'
  assert 'stripes' not in sys.modules
  run('train', config, place, *CONFIG)
  told = capsys.readouterr().err
  assert told.count('The plugin broken of broken is left out: Module') == 1
  saved = json.loads((workdir / 'config.json').read_text())
  assert saved['data']['source'] == 'stripes'
  run('evaluate', place, '--evaluators=brightness,classification')
  report = capsys.readouterr().out
  assert re.search(r'brightness +100\n', report) and 'accuracy' in report
  assert vit_jax.load(workdir).config.model.name == 'Striped-Ti/4'
  assert 'Striped-Ti/4' in vit_jax.list_models()


def test_a_name_is_registered_once_and_is_of_its_kind():
  def twice(image, rng):
    return image

  name = 'test_twice'
  try:
    vit_jax.register('augmentation', name, twice)
    assert augmentations.get(name).transforms == (twice,)
    for call, told in (
      (lambda: vit_jax.register('augmentation', name, twice), 'already'),
      (lambda: vit_jax.register('augmentation', 'none', twice), 'already'),
      (lambda: vit_jax.register('sorce', 'x', twice), "'sorce'.*source"),
      (lambda: vit_jax.register('source', 'a/b', twice), 'no name'),
      (lambda: vit_jax.register('source', 'x', 7), 'int'),
      (lambda: vit_jax.register('model', 'DeiT', twice), 'models.Family'),
      (lambda: vit_jax.register('augmentation', 'x', ()), 'no transform'),
    ):
      with pytest.raises(vit_jax.UserError, match=told):
        call()
  finally:
    del augmentations.AUGMENTATIONS[name]
  assert name not in augmentations.AUGMENTATIONS
