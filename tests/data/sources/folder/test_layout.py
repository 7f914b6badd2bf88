"""Where splits lie, what is held out, and what a recipe learns of it."""

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import datasets, sources
from vit_jax.data.sources import folder


def touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b'x')


@pytest.fixture
def build(tmp_path):
  """Returns a function that gives the keys of the images of each split."""

  def build(train='train', evaluate='validation'):
    data = schema.default().data
    data.source, data.dataset = 'folder', str(tmp_path)
    data.train_split, data.eval_split = train, evaluate
    built = [sources.build(data, split) for split in (train, evaluate)]
    return tuple(
      {source.key(i) for i in range(len(source))} for source in built
    )

  return build


def photos(*labels, count):
  return [f'{label}/{i}.jpg' for label in labels for i in range(count)]


@pytest.mark.parametrize('split', ['', 'train/'])
def test_a_fifth_is_held_out_and_new_images_move_no_other(
  build, tmp_path, split
):
  touch(tmp_path, *(split + name for name in photos('a', 'b', count=100)))
  train, held_out = build()
  assert not train & held_out and len(train | held_out) == 200
  assert 25 <= len(held_out) <= 55
  for evaluate in 'test', 'val', 'valid', 'dev':
    assert build(evaluate=evaluate) == (train, held_out)
  touch(tmp_path, *(f'{split}a/new {i}.jpg' for i in range(20)))
  touch(tmp_path, *(split + name for name in photos('0', count=9)))
  more, more_held_out = build()
  assert train < more and held_out < more_held_out
  assert len(more | more_held_out) == 229


def test_every_class_keeps_an_image_to_train_on(build, tmp_path):
  labels = [f'{i:02}' for i in range(60)]
  touch(tmp_path, *photos(*labels, count=2))
  train, held_out = build()
  assert {name.split('/')[0] for name in train} == set(labels)
  assert len(train) + len(held_out) == 120 and len(held_out) > 10


def test_some_image_is_held_out_of_few(build, tmp_path):
  touch(tmp_path, *photos('a', 'b', count=2))
  train, held_out = build()
  assert (len(train), len(held_out)) in ((3, 1), (2, 2))


def test_nothing_is_held_out_unless_it_is_asked_for(build, tmp_path):
  touch(tmp_path, *photos('train/a', 'train/b', count=20))
  assert len(build(evaluate='train')[0]) == 40
  halves = build('train[:50%]', 'train[50%:]')
  assert len(halves[0]) == len(halves[1]) == 20 and not halves[0] & halves[1]
  with pytest.raises(errors.UserError, match=r"no split 'other'.* be: train"):
    build(evaluate='other')


def test_a_slice_of_what_is_left_holds_nothing_that_is_held_out(
  build, tmp_path
):
  touch(tmp_path, *photos('a', 'b', count=50))
  train, held_out = build()
  half, again = build(train='train[:50%]')
  assert again == held_out and half < train
  assert len(half) == round(len(train) / 2)


def test_the_same_images_are_held_out_wherever_they_lie(
  build, tmp_path, tmp_path_factory
):
  touch(tmp_path, *photos('a', 'b', count=50))
  here = build()
  moved = tmp_path_factory.mktemp('elsewhere')
  touch(moved, *photos('a', 'b', count=50))
  summary = folder.summary(str(moved))
  assert tuple(summary.splits.values()) == tuple(map(len, here))


@pytest.mark.parametrize('evaluate', ['validation', 'test'])
def test_a_summary_is_what_a_run_sees(tmp_path, evaluate):
  touch(tmp_path, *photos('train/a', 'train/b', count=4))
  touch(tmp_path, *photos('valid/a', count=3))
  summary = folder.summary(str(tmp_path), eval_split=evaluate)
  assert summary.splits == {'train': 8, evaluate: 3}
  assert summary.class_names == ('a', 'b') and summary.num_classes == 2


def test_evaluating_on_another_split_changes_no_index(tmp_path):
  touch(tmp_path, 'train/b/1.jpg', 'train/c/1.jpg')
  touch(tmp_path, 'val/a/1.jpg', 'val/b/1.jpg', 'test/c/1.jpg')
  touch(tmp_path, 'extra/c/1.jpg', 'extra/0/1.jpg')
  data = schema.default().data
  data.source, data.dataset = 'folder', str(tmp_path)
  for evaluate in 'validation', 'test':
    data.eval_split = evaluate
    for split in 'train', 'val', 'test':
      assert sources.build(data, split).class_names == ('a', 'b', 'c')
  np.testing.assert_array_equal(sources.build(data, 'test').labels, [2])
  with pytest.raises(errors.UserError, match=r"extra/0: class '0' is not in"):
    sources.build(data, 'extra')


@pytest.mark.parametrize('split', ['', 'train/'])
def test_what_is_left_out_of_one_folder_is_counted_once(tmp_path, split):
  touch(tmp_path, *(split + name for name in photos('a', 'b', count=9)))
  touch(tmp_path, f'{split}a/x.txt', f'{split}b/y.heic')
  data = schema.default().data
  data.source, data.dataset = 'folder', str(tmp_path)
  splits = 'train', 'validation'
  built = [sources.build(data, split) for split in splits]
  line = sources.describe(splits, built)[0]
  assert line.endswith('left out: 2 files (.heic: 1, .txt: 1)')


def test_a_home_folder_may_be_written_short(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  touch(tmp_path, *photos('set/train/a', 'set/test/a', count=1))
  assert folder.summary('~/set').splits == {'train': 1, 'validation': 1}


def test_what_is_held_out_stays_out_of_every_part_of_the_rest(tmp_path):
  for name in 'ab':
    (tmp_path / name).mkdir()
    for number in range(30):
      Image.new('RGB', (2, 2)).save(tmp_path / name / f'{number}.png')
  data = schema.default().data
  data.source, data.dataset = 'folder', str(tmp_path)
  held_out = set(folder.build(data, 'validation').names)
  rest = set(folder.build(data, 'train').names)
  assert held_out and rest and held_out.isdisjoint(rest)
  data.train_split = folder.training_split(data)
  splits = datasets.choosing(data)
  data.train_split, data.eval_split = splits
  chosen = [set(folder.build(data, split).names) for split in splits]
  assert chosen[0].isdisjoint(chosen[1])
  assert chosen[0] | chosen[1] == rest


def test_without_a_part_held_out_the_training_split_has_its_name(tmp_path):
  for split in 'train', 'test':
    (tmp_path / split / 'a').mkdir(parents=True)
    Image.new('RGB', (2, 2)).save(tmp_path / split / 'a/0.png')
  data = schema.default().data
  data.source, data.dataset = 'folder', str(tmp_path)
  data.eval_split = 'test'
  assert folder.training_split(data) == 'train'
