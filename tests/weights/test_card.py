"""A run's card tells whoever reads its weights what its classes are called."""

import dataclasses
import json

import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.cli import main
from vit_jax.config import schema
from vit_jax.data.datasets import class_names
from vit_jax.training import train
from vit_jax.weights import card as cards
from vit_jax.weights import loading, preprocessing

NAMES = ('blau & grün', 'screw', 'tür rot', 'Δ delta')


def make_card(**fields):
  card = cards.Card(
    schema.default().model,
    2,
    ('a', 'caf\udce9'),  # Of a file name that is not UTF-8.
    (32, 48),
    preprocessing.Preprocessing('letterbox', 'bicubic', 1.0, True),
    {'step': 3, 'licence': None},
  )
  return dataclasses.replace(card, **fields)


def test_a_card_is_read_as_written(tmp_path):
  for card in (
    make_card(),
    make_card(num_classes=0, class_names=None, image_size=None, source={}),
  ):
    cards.write(tmp_path, card)
    assert cards.read(tmp_path, card.model) == card
  assert cards.read(tmp_path / 'nowhere', card.model) is None


def test_names_are_shown_in_one_line(tmp_path):
  card = make_card(num_classes=3, class_names=('a\nb', '\x1b[31mred', 'ключ'))
  assert card.names() == ('a\ufffdb', '\ufffd[31mred', 'ключ')
  cards.write(tmp_path, card)
  assert cards.read(tmp_path, card.model).class_names == card.class_names


@pytest.mark.parametrize(
  'said',
  [
    {},
    {'num_classes': 3},
    {'num_classes': 'x'},
    {'class_names': [1, 2, 3]},
    {'preprocessing': {'crop': 'round'}},
    {'preprocessing': {'unknown': 1}},
    {'preprocessing': None},
    {'source': 3},
    {'image_size': 'big'},
    {'image_size': []},
    {'image_size': [32]},
    {'image_size': [32, 48, 3]},
    {'image_size': [32.5, 48]},
    {'image_size': [-32, 48]},
    {'class_names': 'ab'},
    {'class_names': {'0': 'a', '1': 'b'}},
    {'class_names': ['a', None]},
    {'num_classes': 2.5},
    {'num_classes': True},
    {'source': []},
    {'preprocessing': {'exif_orientation': 'false'}},
    {'preprocessing': {'exact_jpeg': 1}},
    {'preprocessing': {'scale': True}},
    {'preprocessing': {'mean': 'abc'}},
    {'preprocessing': {'mean': [0.5]}},
    {'preprocessing': {'std': [True, 1, 1]}},
    {'preprocessing': {'crop': ['central']}},
    {'preprocessing': {'rounding': 3}},
  ],
)
def test_what_is_no_card_is_told(said, tmp_path):
  card = make_card()
  cards.write(tmp_path, card)
  path = tmp_path / cards.FILE
  content = json.loads(path.read_text())
  path.write_text(json.dumps(content | said if said else []))
  with pytest.raises(errors.UserError, match=r'card.json is no .*[^.]\.$'):
    cards.read(tmp_path, card.model)


def test_an_evaluation_that_is_no_number_is_written_as_none(tmp_path):
  card = cards.evaluated(make_card(), 7, {'loss': float('nan'), 'accuracy': 1})
  cards.write(tmp_path, card)
  source = cards.read(tmp_path, card.model).source
  assert source['evaluated'] == {'step': 7, 'loss': None, 'accuracy': 1}


def write_images(folder):
  for split in 'train', 'test':
    for label, name in enumerate(NAMES):
      (folder / split / name).mkdir(parents=True)
      for number in range(2):
        color = (60 * label, 250 - 60 * label, 10 * number)
        path = folder / split / name / f'{number}.png'
        Image.new('RGB', (20, 20), color).save(path)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run of one step on four classes, and its data set."""
  folder = tmp_path_factory.mktemp('run')
  write_images(folder / 'set')
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 16, 'depth': 1, 'num_heads': 2, 'mlp_dim': 16})
  config.data.source, config.data.dataset = 'folder', str(folder / 'set')
  config.data.eval_split = 'test'
  config.data.resolution = (16,)
  config.optimizer.warmup_steps = 0
  config.run.batch_size, config.run.num_steps = 8, 1
  train.run(config, folder / 'run')
  return folder / 'run'


def test_a_run_knows_its_classes(workdir):
  card = loading.find(str(workdir)).card
  assert card.class_names == NAMES
  assert card.source['dataset'] == str(workdir.parent / 'set')
  assert card.source['num_examples'] == 8
  assert card.source['evaluated']['step'] == 1
  assert 0 <= card.source['evaluated']['accuracy'] <= 1


def test_predict_calls_classes_as_the_run_does(workdir, capsys):
  image = workdir.parent / 'set/test/screw/0.png'
  main.main(['predict', f'--checkpoint={workdir}', f'--input={image}'])
  lines = capsys.readouterr().out.splitlines()
  assert sorted(line.split('%  ')[1] for line in lines[1:]) == sorted(NAMES)


@pytest.mark.parametrize('to', ['orbax', 'timm', 'huggingface'])
def test_an_export_knows_them_too(workdir, to, tmp_path):
  assert main.main(['convert', str(workdir), str(tmp_path), f'--to={to}']) == 0
  assert loading.find(str(tmp_path)).card.class_names == NAMES


def test_a_run_without_a_card_numbers_its_classes(workdir, tmp_path):
  target = tmp_path / 'exported'
  main.main(['convert', str(workdir), str(target), '--to=orbax'])
  (target / cards.FILE).unlink()
  card = loading.find(str(target)).card
  assert card.class_names is None
  assert card.names() == tuple(f'class {index}' for index in range(4))


def test_a_card_of_another_head_is_refused(workdir, tmp_path):
  target = tmp_path / 'exported'
  main.main(['convert', str(workdir), str(target), '--to=orbax'])
  card = loading.find(str(target)).card
  cards.write(
    target, dataclasses.replace(card, num_classes=2, class_names=('a', 'b'))
  )
  with pytest.raises(errors.UserError, match=r'card\.json is of 2 classes'):
    loading.find(str(target))


def test_synsets_are_shown_in_words():
  synsets = class_names.imagenet(1000)
  card = cards.Card(schema.default().model, 1000, synsets)
  assert card.names()[0] == 'tench, Tinca tinca'


def test_more_layers_than_there_are_are_refused_before_they_are_traced(
  workdir, tmp_path
):
  target = tmp_path / 'exported'
  main.main(['convert', str(workdir), str(target), '--to=orbax'])
  path = target / 'config.json'
  config = json.loads(path.read_text())
  for depth, message in (900, 'there are .* parameters'), (10**6, 'from 1 to'):
    config['model']['depth'] = depth
    path.write_text(json.dumps(config))
    with pytest.raises(errors.UserError, match=message):
      loading.find(str(target))
