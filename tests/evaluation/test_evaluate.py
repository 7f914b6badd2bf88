"""Runs and released weights, measured by every evaluator."""

import csv
import json
import pathlib

import cv2
import numpy as np
import pytest
import sklearn.metrics

from vit_jax import errors, models, pytrees
from vit_jax.checkpoints import parameters
from vit_jax.cli import main
from vit_jax.config import recipes, schema
from vit_jax.data import sources, transforms
from vit_jax.data.transforms import crops
from vit_jax.evaluation import (
  classification,
  evaluate,
  fewshot,
  knn,
  real,
  records,
)
from vit_jax.training import train
from vit_jax.weights import convert, loading, mapping
from vit_jax.weights.catalog import entry as entries
from vit_jax.weights.files import download, npz
from vit_jax.weights.tables import vit

TINY = {'width': 16, 'depth': 1, 'num_heads': 2, 'mlp_dim': 16}
CLASSES = 4


def tiny_config():
  config = schema.default()
  config.model.update({'name': 'ViT-Ti/4', **TINY})
  config.data.update(
    {'source': 'synthetic', 'num_classes': CLASSES, 'num_examples': 90}
  )
  config.data.resolution, config.data.eval_crop = (8,), 'stretch'
  config.optimizer.update({'learning_rate': 1e-2, 'warmup_steps': 0})
  config.optimizer.ema_decay = 0.5
  config.run.update({'batch_size': 16, 'num_steps': 12})
  config.mesh.data = 1
  return config


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The folder of a run, and what it reported."""
  workdir = tmp_path_factory.mktemp('finished')
  return workdir, train.run(tiny_config(), workdir)


def write_images(root, splits, labels, seed=0):
  """Writes images whose colour tells their class; two of each and split."""
  rng = np.random.default_rng(seed)
  count = 0
  for split in splits:
    for label in range(labels):
      for _ in range(2):
        count += 1
        pixels = rng.integers(0, 60, (40, 50, 3), np.uint8)
        pixels[..., label % 3] += 150 - 30 * (label // 3)
        path = root / split / f'n{label:04d}'
        path.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path / f'ILSVRC2012_val_{count:08d}.png'), pixels)


@pytest.fixture(scope='module')
def released(tmp_path_factory):
  """A small model as Google's .npz, a folder of images, model and tree."""
  folder = tmp_path_factory.mktemp('released')
  config = schema.default()
  config.model.update({'name': 'ViT-B/16', **TINY, 'num_heads': 1})
  model = models.build(config.model, 6)
  shapes = pytrees.flatten(models.params_of(model, (32, 32)))
  rng = np.random.default_rng(0)
  flat = {
    path: 0.3 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  npz.save(folder / 'a.npz', mapping.to_theirs(flat, vit.rows()))
  write_images(folder / 'photos', ('train', 'test'), 6)
  return folder, model, pytrees.unflatten(flat)


def pixels_of(folder, split, chain):
  """Returns pixels in [-1, 1] and labels of a split, without the pipeline."""
  data = schema.default().data
  data.source, data.dataset = 'folder', str(folder / 'photos')
  source = sources.build(data, split)
  examples = [source[index] for index in range(len(source))]
  images = [transforms.apply(chain, each['image']) for each in examples]
  pixels = np.stack(images).astype(np.float32) / 127.5 - 1
  return pixels, np.array([each['label'] for each in examples])


def test_a_run_is_measured_as_it_measured_itself(finished):
  workdir, report = finished
  assert evaluate.run(workdir) == report
  (line,) = records.read(workdir / records.FILE)[-1:]
  assert line['values'] == report
  assert line['recipe'] == recipes.digest(tiny_config())
  assert (line['evaluator'], line['step']) == ('classification', 12)
  assert (line['dataset'], line['split']) == ('imagenet2012', 'validation')
  assert len(line['code']) == 16


def test_a_run_as_weights_measures_the_same(finished):
  workdir, report = finished
  lines = records.read(workdir / records.FILE)
  found = evaluate.run(checkpoint=str(workdir))
  assert found == pytest.approx(report, rel=1e-5)
  assert records.read(workdir / records.FILE) == lines


def test_the_average_of_the_parameters_is_what_is_measured(
  finished, tmp_path, monkeypatch
):
  workdir, report = finished
  monkeypatch.setattr(parameters, '_AVERAGE', parameters._PARAMS)
  found = evaluate.run(workdir, results_path=tmp_path / 'results.jsonl')
  assert found['loss'] != pytest.approx(report['loss'], rel=1e-3)


def test_one_command_measures_a_run_by_several_evaluators(
  finished, tmp_path, capsys
):
  results = tmp_path / 'results.jsonl'
  status = main.main(
    [
      'evaluate',
      f'--workdir={finished[0]}',
      '--evaluators=classification,fewshot,knn',
      '--shots=1,5',
      f'--results={results}',
      '--train_split=train',
    ]
  )
  assert status == 0
  printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
  lines = {line['evaluator']: line for line in records.read(results)}
  assert list(lines) == ['classification', 'fewshot', 'knn']
  assert lines['knn']['train_split'] == 'train'
  assert 'train_split' not in lines['classification']
  values = {}
  for line in lines.values():
    values |= line['values']
  assert printed.keys() == values.keys()
  # Classes are patterns under noise, which even a small model tells apart.
  assert values['fewshot_5'] > 0.5 and values['knn_20'] > 0.5
  assert values['fewshot_num_examples'] == values['knn_num_examples'] == 90


def test_released_weights_are_measured_as_by_hand(released, tmp_path):
  folder, model, params = released
  found = evaluate.run(
    checkpoint=str(folder / 'a.npz'),
    dataset=str(folder / 'photos'),
    split='test',
    evaluators=('classification', 'fewshot'),
    batch_size=8,
    shots=(1, 2),
    results_path=tmp_path / 'results.jsonl',
  )
  central = transforms.for_evaluation(_data_at(32))
  pixels, label = pixels_of(folder, 'test', central)
  logits = model.apply({'params': params}, pixels, train=False).logits
  assert found['num_examples'] == 12
  assert found['accuracy'] == np.mean(np.argmax(logits, -1) == label)
  squashed = (transforms.DecodeCrop(_few_shot_crop(32)),)
  given, asked = (
    pixels_of(folder, split, squashed) for split in ('train', 'test')
  )
  features = [
    np.asarray(model.apply({'params': params}, part, train=False).pooled)
    for part, _ in (given, asked)
  ]
  # Two shots of two images each: every draw is of all of them.
  classifier = fewshot.fit(features[0], given[1], 6)
  best = fewshot.score(classifier, features[1]).argmax(-1)
  assert found['fewshot_2'] == pytest.approx(np.mean(best == asked[1]))
  assert found['fewshot_2_std'] == 0
  assert [
    line['checkpoint'] for line in records.read(tmp_path / 'results.jsonl')
  ] == [str(folder / 'a.npz')] * 2


def _data_at(resolution):
  data = schema.default().data
  data.resolution = (resolution,)
  return data


def _few_shot_crop(side):
  return crops.Stretch(side, side, scale=8 / 7)


def test_released_weights_see_what_the_catalogue_says(released, monkeypatch):
  folder, *_ = released
  checkpoint = str(folder / 'a.npz')
  entry = entries.Entry('x/a', 'gs://x/a', None, 'google', 32, 6, scale=1.0)
  monkeypatch.setattr(loading, '_locate', lambda _: (entry, checkpoint))
  whole = (transforms.DecodeCrop(crops.Central(32, 32, scale=1.0)),)
  seen = _seen(monkeypatch, classification, 1, checkpoint, folder)
  np.testing.assert_array_equal(seen[0], pixels_of(folder, 'test', whole)[0])


def test_few_shot_sees_images_squashed_and_their_centre(released, monkeypatch):
  folder, *_ = released
  squashed = (transforms.DecodeCrop(_few_shot_crop(32)),)
  seen = _seen(monkeypatch, fewshot, 2, str(folder / 'a.npz'), folder)
  for pixels, split in zip(seen, ('train', 'test')):
    np.testing.assert_array_equal(pixels, pixels_of(folder, split, squashed)[0])


def test_few_shot_turns_images_as_the_card_says(
  released, monkeypatch, tmp_path
):
  folder, *_ = released
  convert.run(str(folder / 'a.npz'), str(tmp_path / 'out'), 'huggingface')
  turned = (transforms.DecodeCrop(_few_shot_crop(32), True, exact_jpeg=True),)
  decoded = []
  decode_crop = transforms.DecodeCrop

  def record(*arguments, **options):
    decoded.append(decode_crop(*arguments, **options))
    return decoded[-1]

  monkeypatch.setattr(transforms, 'DecodeCrop', record)
  _seen(monkeypatch, fewshot, 2, str(tmp_path / 'out'), folder)
  assert decoded[-1] == turned[0]


def _seen(monkeypatch, evaluator, count, checkpoint, folder):
  """Returns the pixels of the batches that an evaluator is given."""
  seen = []

  def look(_, *arguments):
    for batches in arguments[:count]:
      parts = [batch['image'][batch['mask']] for batch in batches]
      seen.append(np.concatenate(parts).astype(np.float32) / 127.5 - 1)
    return {}

  monkeypatch.setattr(evaluator, 'evaluate', look)
  evaluate.run(
    checkpoint=checkpoint,
    dataset=str(folder / 'photos'),
    split='test',
    evaluators=(evaluator.__name__.split('.')[-1],),
    batch_size=8,
    shots=(2,),
  )
  return seen


def test_weights_are_measured_at_another_resolution(released):
  folder, *_ = released
  asked = {'dataset': str(folder / 'photos'), 'split': 'test', 'batch_size': 8}
  checkpoint = str(folder / 'a.npz')
  one = evaluate.run(checkpoint=checkpoint, **asked)
  two = evaluate.run(checkpoint=checkpoint, resolution=(48, 64), **asked)
  assert one['num_examples'] == two['num_examples'] == 12
  assert one['loss'] != pytest.approx(two['loss'], rel=1e-4)


@pytest.fixture
def labels(tmp_path, monkeypatch):
  """The reassessed labels of 24 images: all that are not 0 are right."""
  path = tmp_path / 'real.json'
  path.write_text(json.dumps([[]] * 12 + [list(range(1, 6))] * 12))
  monkeypatch.setattr(download, 'fetch', lambda address: path)
  return path


def test_reassessed_labels_go_by_the_name_of_the_file(
  released, labels, monkeypatch
):
  folder, model, params = released
  monkeypatch.setattr('vit_jax.data.sources.real_labels.NUM_CLASSES', 6)
  found = evaluate.run(
    checkpoint=str(folder / 'a.npz'),
    dataset=str(folder / 'photos'),
    split='train+test',  # Those of train have no label.
    evaluators=('real',),
    batch_size=8,
  )
  central = transforms.for_evaluation(_data_at(32))
  pixels, _ = pixels_of(folder, 'test', central)
  logits = model.apply({'params': params}, pixels, train=False).logits
  assert found == {
    'real_accuracy': pytest.approx(np.mean(np.argmax(logits, -1) != 0)),
    'real_num_examples': 12,
  }


def read_csv(path):
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.reader(file))


def test_of_each_class_a_run_leaves_tables_and_figures(finished, capsys):
  workdir, report = finished
  for arguments in (
    ['classification,per_class'],
    ['per_class', '--batch_size=5'],
  ):
    names, *others = arguments
    status = main.main(
      ['evaluate', f'--workdir={workdir}', f'--evaluators={names}', *others]
    )
    assert status == 0
    printed = dict(
      line.split() for line in capsys.readouterr().out.splitlines()
    )
    header, *rows = read_csv(workdir / 'per_class.csv')
    table = {
      name: np.array([float(cell or 'nan') for cell in column])
      for name, column in zip(header, zip(*rows))
    }
    assert table['name'].tolist() == list(range(CLASSES))
    assert table['count'].sum() == 90
    accuracy = table['correct'].sum() / 90
    assert accuracy == pytest.approx(report['accuracy'])
    assert float(printed['mean_per_class_accuracy']) == pytest.approx(
      np.nanmean(table['accuracy']), rel=1e-4
    )
    _, *matrix = read_csv(workdir / 'confusion.csv')
    counts = np.array(matrix)[:, 1:].astype(int)
    np.testing.assert_array_equal(counts.sum(1), table['count'])
    np.testing.assert_array_equal(np.diag(counts), table['correct'])
    _, *mistakes = read_csv(workdir / 'mistakes.csv')
    assert len(mistakes) == min(100, 90 - table['correct'].sum())
    for name in 'confusion.png', 'mistakes.png':
      assert (workdir / name).read_bytes().startswith(b'\x89PNG')
  values = records.read(workdir / records.FILE)[-1]['values']
  assert set(values) == {
    *('mean_per_class_accuracy', 'worst_class_accuracy', 'macro_f1'),
    *('per_class_num_classes', 'per_class_num_examples'),
  }


def test_of_released_weights_tables_go_where_they_are_asked_for(
  released, tmp_path
):
  folder, model, params = released
  asked = {
    'checkpoint': str(folder / 'a.npz'),
    'dataset': str(folder / 'photos'),
    'split': 'test',
    'evaluators': ['per_class'],
    'batch_size': 8,
  }
  before = sorted(folder.rglob('*'))
  one = evaluate.run(**asked)
  assert sorted(folder.rglob('*')) == before
  two = evaluate.run(**asked, output_dir=tmp_path / 'new' / 'tables')
  assert one == two
  pixels, label = pixels_of(
    folder, 'test', transforms.for_evaluation(_data_at(32))
  )
  logits = model.apply({'params': params}, pixels, train=False).logits
  predicted = np.argmax(logits, -1)
  header, *rows = read_csv(tmp_path / 'new' / 'tables' / 'confusion.csv')
  names = [f'n{each:04d}' for each in range(6)]
  assert header == ['true', *names] and [row[0] for row in rows] == names
  np.testing.assert_array_equal(
    np.array(rows)[:, 1:].astype(int),
    sklearn.metrics.confusion_matrix(label, predicted, labels=range(6)),
  )
  _, *mistakes = read_csv(tmp_path / 'new' / 'tables' / 'mistakes.csv')
  assert len(mistakes) == np.sum(label != predicted) > 0
  for file, true, guess, confidence, of_true in mistakes:
    assert pathlib.Path(file).parent.name == true != guess
    assert 1 >= float(confidence) >= float(of_true) >= 0


def refused(message, **asked):
  with pytest.raises(errors.UserError, match=message):
    evaluate.run(**asked)


def test_mistakes_are_told_before_anything_is_computed(
  finished, released, monkeypatch, tmp_path
):
  for evaluator in fewshot, knn, real:
    monkeypatch.setattr(evaluator, 'evaluate', None)
  monkeypatch.setattr(evaluate.targets.Target, 'functions', None)
  workdir, checkpoint = finished[0], str(released[0] / 'a.npz')
  photos = str(released[0] / 'photos')
  on = {'checkpoint': checkpoint, 'dataset': photos, 'split': 'test'}
  on['batch_size'] = 8

  refused('either --workdir=RUN or')
  refused('either --workdir=RUN or', workdir=workdir, checkpoint=checkpoint)
  refused('holds no run', workdir=tmp_path)
  refused(
    "evaluators='knm' is unknown.* mean knn",
    workdir=workdir,
    evaluators=['knm'],
  )
  refused('to be evaluated on.*--dataset=', checkpoint=checkpoint)
  refused('Which split of', checkpoint=checkpoint, dataset=photos)
  refused('--checkpoint=', workdir=workdir, resolution=(16,))
  refused(r"no split 'tset'.* mean test", **{**on, 'split': 'tset'})
  refused('not a multiple of the 16', resolution=(40,), **on)
  refused('does not divide over the 8', **{**on, 'batch_size': 12})
  refused('data.dataset=.* TFDS knows no such', **{**on, 'dataset': 'cifra'})
  refused(
    r'3 shots need 3 .* class 0 has 2 .*--shots=1,',
    evaluators=['fewshot'],
    shots=(1, 3),
    **on,
  )
  (tmp_path / 'a_file').touch()
  refused(
    'a_file/tables can not be written',
    evaluators=['per_class'],
    output_dir=tmp_path / 'a_file' / 'tables',
    **on,
  )
  refused(r'neighbours need as many .* are 12', evaluators=['knn'], **on)
  refused('head of 6 classes.*1000 classes', evaluators=['real'], **on)


def test_labels_that_do_not_match_the_head_are_told(released, tmp_path):
  write_images(tmp_path / 'photos', ('test',), 3)
  refused(
    r'a head of 6 classes, and .*photos \(test\) has 3 .*--evaluators=fewshot',
    checkpoint=str(released[0] / 'a.npz'),
    dataset=str(tmp_path / 'photos'),
    split='test',
  )


def test_missing_labels_tell_where_to_put_them(released, monkeypatch):
  def fetch(address):
    raise download.DownloadError(f'{address}: put it at /there/real.json')

  monkeypatch.setattr(download, 'fetch', fetch)
  monkeypatch.setattr('vit_jax.data.sources.real_labels.NUM_CLASSES', 6)
  refused(
    r'"real" needs the reassessed.*reassessed-imagenet.*put it at /there',
    checkpoint=str(released[0] / 'a.npz'),
    dataset=str(released[0] / 'photos'),
    split='test',
    evaluators=['real'],
    batch_size=8,
  )


def num_bytes_read():
  """Returns how many bytes this process has read so far, from whatever."""
  lines = pathlib.Path('/proc/self/io').read_text().splitlines()
  return int(lines[0].removeprefix('rchar: '))


@pytest.mark.skipif(
  not pathlib.Path('/proc/self/io').exists(), reason='needs Linux'
)
def test_of_a_run_the_parameters_alone_are_read(tmp_path):
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update(
    {'width': 256, 'depth': 6, 'num_heads': 4, 'mlp_dim': 1024, 'scan': True}
  )
  config.data.source, config.data.resolution = 'synthetic', (8,)
  config.data.update({'num_classes': 4, 'num_examples': 16})
  config.optimizer.warmup_steps = 0
  config.run.batch_size, config.run.num_steps = 16, 3
  workdir = tmp_path / 'run'
  reported = train.run(config, workdir)
  params = parameters.find(workdir).shapes().values()
  num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in params)
  stored = sum(
    path.stat().st_size
    for path in workdir.glob('checkpoints/**/*')
    if path.is_file()
  )
  assert stored > 2.5 * num_bytes  # Adam's moments are there too.
  assert evaluate.run(workdir) == reported  # What is imported or compiled late.
  before = num_bytes_read()
  assert evaluate.run(workdir) == reported
  assert 0.8 * num_bytes < num_bytes_read() - before < 1.6 * num_bytes
