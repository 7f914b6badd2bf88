"""A whole run as its data meet it: broken, augmented, changed on the way."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

import vit_jax
from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import bad_examples
from vit_jax.data.sources import checks, listing
from vit_jax.data.sources import folder as folders
from vit_jax.evaluation import evaluate
from vit_jax.training import train, validation
from vit_jax.training.runtime import metrics_file

pytestmark = pytest.mark.usefixtures('undrawn')

ROOT = pathlib.Path(vit_jax.__file__).parents[1]
SEED = 9  # With it, train/dark/07.png comes in steps 2 and 4.


@pytest.fixture
def folder(tmp_path):
  """Dark and bright images: 24 to train and 10 to evaluate on, each PNG."""
  draw = np.random.default_rng(0)
  for split, count in ('train', 12), ('test', 5):
    for label, name in enumerate(('dark', 'bright')):
      parent = tmp_path / 'set' / split / name
      parent.mkdir(parents=True)
      for number in range(count):
        noise = draw.integers(0, 120, (8, 8, 3)) + 120 * label
        path = parent / f'{number:02}.png'
        Image.fromarray(noise.astype(np.uint8)).save(path)
  return tmp_path / 'set'


@pytest.fixture
def config(folder):
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 16, 'depth': 1, 'num_heads': 1, 'mlp_dim': 16})
  config.data.source, config.data.dataset = 'folder', str(folder)
  config.data.eval_split = 'test'
  config.data.resolution = (8,)
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 8
  config.run.num_steps = 4
  config.run.log_every = 1
  return config


def test_bad_images_are_left_out_and_listed_in_the_workdir(
  config, folder, tmp_path
):
  broken = [folder / 'train/dark/07.png', folder / 'test/bright/02.png']
  for path in broken:
    path.write_bytes(path.read_bytes()[:40])
  config.data.max_bad_fraction = 0.1
  report = train.run(config, tmp_path / 'run')
  assert report['num_examples'] == 9
  lines = bad_examples.path(tmp_path / 'run', 0).read_text().splitlines()
  assert [json.loads(line)['where'] for line in lines] == list(map(str, broken))
  assert evaluate.run(tmp_path / 'run') == report


def test_too_many_bad_images_end_the_run(config, folder, tmp_path):
  (folder / 'train/dark/07.png').write_bytes(b'')
  with pytest.raises(
    errors.UserError, match=r'07\.png: Not an image.* 1 bad of 24 .*jsonl lists'
  ):
    train.run(config, tmp_path / 'run')


# How a run goes on ------------------------------------------------------------


@pytest.fixture
def broken(config, folder, tmp_path):
  """The path of a broken image, and the folder of a run that it has ended."""
  config.seed, config.mesh.data = SEED, 1
  path = folder / 'train/dark/07.png'
  path.write_bytes(b'broken')
  with pytest.raises(errors.UserError, match='Mend or remove these files, or'):
    train.run(config, tmp_path / 'run')
  return path, tmp_path / 'run'


def trained(workdir):
  lines = metrics_file.read(workdir)
  return [line for line in lines if line['split'] == 'train']


@pytest.mark.parametrize('cure', ['remove', 'mend', 'allow'])
def test_what_the_error_says_of_a_broken_image_resumes_the_run(
  config, folder, broken, tmp_path, capsys, cure
):
  path, workdir = broken
  saved = int(next((workdir / 'checkpoints').iterdir()).name)
  if cure == 'remove':
    path.unlink()
  elif cure == 'mend':
    path.write_bytes((folder / 'train/dark/08.png').read_bytes())
  else:
    config.data.max_bad_fraction = 0.1
  train.run(config, workdir)
  assert f'resumed at step {saved}' in capsys.readouterr().err
  assert [line['step'] for line in trained(workdir)] == [1, 2, 3, 4]
  if cure != 'mend':  # As if it had been allowed from the start.
    path.write_bytes(b'broken')
    config.data.max_bad_fraction = 0.1
    train.run(config, tmp_path / 'other')
    assert trained(workdir) == trained(tmp_path / 'other')


@pytest.mark.parametrize('ending', ['csv', 'jsonl'])
def test_a_listed_image_that_is_removed_is_as_any_other(
  config, folder, tmp_path, ending
):
  images = sorted((folder / 'train').glob('*/*.png'))
  rows = [(str(p.relative_to(folder / 'train')), p.parent.name) for p in images]
  if ending == 'csv':
    lines = ['image,label', *map(','.join, rows)]
  else:
    lines = [json.dumps({'image': i, 'label': label}) for i, label in rows]
  (folder / f'train.{ending}').write_text('\n'.join(lines))
  path = folder / 'train/dark/07.png'
  path.write_bytes(b'broken')
  config.seed, config.mesh.data = SEED, 1
  with pytest.raises(errors.UserError, match='Mend or remove these files, or'):
    train.run(config, tmp_path / 'run')
  path.unlink()
  assert train.run(config, tmp_path / 'run')['num_examples'] == 10
  assert [line['step'] for line in trained(tmp_path / 'run')] == [1, 2, 3, 4]
  found = folders.summary(str(folder), eval_split='test')
  assert found.splits == {'train': 23, 'test': 10}
  images[0].unlink()
  with pytest.raises(errors.UserError, match=r'bright/00\.png is gone'):
    train.run(config, tmp_path / 'run')
  with pytest.raises(errors.UserError, match=r'2 of 24 .* remove their lines'):
    train.run(config, tmp_path / 'new')


def test_a_resumed_run_goes_on_without_it_again_and_again(
  config, broken, tmp_path
):
  path, workdir = broken
  path.unlink()
  for _ in range(2):
    train.run(config, workdir)
  path.with_name('08.png').unlink()
  with pytest.raises(errors.UserError, match=r'changed.*dark/08\.png is gone'):
    train.run(config, workdir)
  config.data.max_bad_fraction = 0.1
  train.run(config, workdir)


def test_slices_stay_what_they_were_without_a_file(config, folder, tmp_path):
  config.data.train_split, config.data.eval_split = 'train[:75%]', 'train[75%:]'
  config.data.max_bad_fraction = 0.2
  config.run.num_steps, config.run.eval_every = 6, 3
  for path in (folder / 'train/dark/07.png', folder / 'train/bright/02.png'):
    path.write_bytes(b'broken')
  train.run(config, tmp_path / 'whole')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(validation, 'report', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      train.run(config, tmp_path / 'run')
  for path in (folder / 'train/dark/07.png', folder / 'train/bright/02.png'):
    path.unlink()
  config.data.max_bad_fraction = 0.0
  train.run(config, tmp_path / 'run')
  assert metrics_file.read(tmp_path / 'run') == metrics_file.read(
    tmp_path / 'whole'
  )


@pytest.mark.parametrize('is_split', [True, False])
def test_what_was_held_out_is_no_part_of_train_afterwards(
  config, folder, tmp_path, is_split, capsys
):
  images = folder / 'train'
  config.data.dataset = str(folder if is_split else images)
  if is_split:
    shutil.rmtree(folder / 'test')
  config.data.eval_split = 'validation'
  measured = train.run(config, tmp_path / 'run')['num_examples']
  with np.load(tmp_path / 'run' / listing.FILE) as stored:
    trained_on = len(stored['train/0/names'])
  assert 0 < trained_on == 24 - measured
  counts = {'train': trained_on, 'validation': measured, 'test': measured}
  for split, count in counts.items():
    found = evaluate.run(tmp_path / 'run', split=split)
    assert found['num_examples'] == count
  capsys.readouterr()
  evaluate.run(tmp_path / 'run', ('classification', 'per_class'))
  told = capsys.readouterr().err
  assert told.count(f'{measured} images of 2 classes (validation)') == 1
  assert told.count('a fifth of its images, chosen by their names, is') == 1


@pytest.mark.parametrize('change', ['new', 'relabelled', 'resized'])
def test_what_has_changed_is_named(config, folder, tmp_path, change):
  train.run(config, tmp_path / 'run')
  path = folder / 'train/dark/07.png'
  said = {
    'new': r'dark/99\.png is new',
    'relabelled': r'dark/07\.png is gone, .*bright/99\.png is new',
    'resized': r'dark/07\.png has \d+ bytes and had \d+',
  }
  if change == 'new':
    path.with_name('99.png').write_bytes(path.read_bytes())
  elif change == 'relabelled':
    path.rename(folder / 'train/bright/99.png')
  else:
    path.write_bytes(path.read_bytes() + b' ')
  with pytest.raises(
    errors.UserError, match=f'data have changed.*{said[change]}'
  ):
    train.run(config, tmp_path / 'run')


def test_a_data_set_may_move(config, folder, tmp_path):
  config.data.max_bad_fraction = 0.1
  (folder / 'train/dark/07.png').write_bytes(b'broken')
  report = train.run(config, tmp_path / 'run')
  (tmp_path / 'far').mkdir()
  folder.rename(tmp_path / 'far/away')
  (tmp_path / 'far/away/train/dark/07.png').unlink()
  config.data.dataset = str(tmp_path / 'far/away')
  config.data.max_bad_fraction = 0.0  # It was listed elsewhere.
  assert train.run(config, tmp_path / 'run') == report
  assert evaluate.run(tmp_path / 'run') == report
  config.data.dataset = str(tmp_path / 'far')
  (tmp_path / 'far/away').rename(tmp_path / 'nearer')
  moved = evaluate.run(tmp_path / 'run', dataset=str(tmp_path / 'nearer'))
  assert moved == report


# Before the first step --------------------------------------------------------


@pytest.mark.parametrize('kind', ['train', 'eval'])
@pytest.mark.parametrize('layout', ['csv', 'jsonl'])
def test_a_split_without_labels_is_refused_before_the_first_step(
  config, folder, tmp_path, monkeypatch, kind, layout
):
  monkeypatch.setattr(train, '_compile', lambda *_: 1 / 0)
  split = {'train': 'train', 'eval': 'test'}[kind]
  names = sorted(path.relative_to(folder) for path in folder.glob('*/*/*.png'))
  for each in 'train', 'test':
    rows = [
      (str(name), '' if each == split else name.parts[1])
      for name in names
      if name.parts[0] == each
    ]
    if layout == 'csv':
      text = 'image,label\n' + ''.join(f'{a},{b}\n' for a, b in rows)
    else:
      text = ''.join(
        json.dumps({'image': a, 'label': b or None}) + '\n' for a, b in rows
      )
    (folder / f'{each}.{layout}').write_text(text)
  with pytest.raises(
    errors.UserError, match=rf'data\.{kind}_split={split} has no labels'
  ):
    train.run(config, tmp_path / 'run')
  config.objective.name = 'masked_patches'  # As the error says.
  with pytest.raises(ZeroDivisionError):
    train.run(config, tmp_path / 'other')


def test_evaluation_files_are_opened_before_the_first_step(
  config, folder, tmp_path, monkeypatch
):
  broken = [folder / 'test/dark/01.png', folder / 'test/bright/04.png']
  broken[0].write_bytes(b'<html>')
  broken[1].write_bytes(b'')
  with monkeypatch.context() as patch:
    patch.setattr(train, '_compile', lambda *_: 1 / 0)
    with pytest.raises(errors.UserError) as raised:
      train.run(config, tmp_path / 'run')
    for said in '2 of 10 images', *map(str, broken), 'Mend or remove':
      assert said in str(raised.value)
    config.data.max_bad_fraction = 0.2
    with pytest.raises(ZeroDivisionError):
      train.run(config, tmp_path / 'other')
  config.data.max_bad_fraction = 0.0
  for path in broken:
    path.unlink()
  assert train.run(config, tmp_path / 'run')['num_examples'] == 8


def test_many_files_are_checked_by_a_sample(
  config, folder, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(checks, 'MAX_FILES', 5)
  config.run.num_steps = 1
  train.run(config, tmp_path / 'run')
  assert 'the headers of 5 of the 10 files' in capsys.readouterr().err


def test_a_mixed_run_has_soft_targets_and_ends_with_numbers(config, tmp_path):
  config.data.augmentation = 'strong2'
  config.data.cutmix, config.data.random_erasing = 1.0, 0.3
  config.data.repeated_augmentation = 2
  report = train.run(config, tmp_path / 'run')
  lines = metrics_file.read(tmp_path / 'run')
  losses = [line['loss'] for line in lines if line['split'] == 'train']
  assert len(losses) == 4 and np.isfinite(losses).all()
  assert report['num_examples'] == 10 and np.isfinite(report['loss'])


def test_other_data_are_refused_where_a_run_goes_on(config, folder, tmp_path):
  train.run(config, tmp_path / 'run')
  path = folder / 'train/dark/07.png'
  path.rename(path.with_name('99.png'))  # As many as before.
  with pytest.raises(
    errors.UserError, match=r'07\.png is gone, .*99\.png is new'
  ):
    train.run(config, tmp_path / 'run')


def test_neither_training_nor_evaluation_imports_tensorflow(config, tmp_path):
  # A stand-in tells, whether or not the real one is installed.
  (tmp_path / 'tensorflow').mkdir()
  (tmp_path / 'tensorflow/__init__.py').write_text(
    'import traceback; traceback.print_stack(); raise ImportError'
  )
  code = f"""
    from vit_jax.config import recipes
    from vit_jax.evaluation import evaluate
    from vit_jax.training import train

    config = recipes.load({str(tmp_path / 'config.json')!r})
    report = train.run(config, {str(tmp_path / 'run')!r})
    assert evaluate.run({str(tmp_path / 'run')!r}) == report
    print('done')
  """
  config.data.source, config.data.dataset = 'tfds', 'digits'
  config.data.data_dir = str(tmp_path / 'tfds')
  config.run.num_steps = 1
  (tmp_path / 'config.json').write_text(json.dumps(config.to_dict()))
  result = subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)],
    cwd=ROOT,
    env={
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}',
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout.endswith('done\n'), result.stderr
  assert str(tmp_path / 'tensorflow') not in result.stderr, result.stderr
