"""Nothing is written through a link that a stranger's folder holds."""

import json
import os
import types

import numpy as np
import pytest
import samples

from vit_jax import errors
from vit_jax.config import recipes
from vit_jax.data import bad_examples
from vit_jax.data.sources import tfrecord
from vit_jax.evaluation import drawing, records
from vit_jax.training.runtime import lock, log

NAMES = (
  *('config.json', 'card.json', 'lock.json', 'sweep.json', 'params.json'),
  *('metrics.jsonl', 'evaluations.jsonl', 'bad_examples.jsonl'),
  'timings.jsonl',
  *('predictions.png', 'learning_curve.png', 'model.safetensors'),
  *('checkpoints', 'tensorboard', 'params', 'logs', 'profile'),
)


@pytest.fixture
def precious(tmp_path):
  """A file of the person's own, and the folder of a stranger's run."""
  own = tmp_path / 'own'
  own.write_text('precious\n')
  run = tmp_path / 'run'
  run.mkdir()
  return types.SimpleNamespace(path=own, run=run)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('target', ['own', 'nothing', 'a folder'])
def test_a_run_folder_with_links_is_refused(precious, name, target):
  where = {
    'own': precious.path,
    'nothing': precious.path.with_name('gone'),
    'a folder': precious.path.parent,
  }[target]
  (precious.run / name).symlink_to(where)
  with pytest.raises(errors.UserError, match=f'{name} is a symbolic link'):
    recipes.check_same(samples.configuration(), precious.run)
  with pytest.raises(errors.UserError, match=f'{name} is a symbolic link'):
    recipes.save(samples.configuration(), precious.run)
  assert precious.path.read_text() == 'precious\n'
  assert not precious.path.with_name('gone').exists()


def write_config(run):
  recipes.save(samples.configuration(), run)


def hold_lock(run):
  with lock.RunLock(run, lambda _: None):
    pass


def log_metrics(run):
  with log.RunLog(run, num_steps=2) as logger:
    logger.start(0, [])
    logger.evaluation(1, {'loss': 1.0})


def record(run):
  records.append(run / 'evaluations.jsonl', {}, {'accuracy': 1.0})


class Source:
  def __len__(self):
    return 10

  def where(self, index):
    return str(index)

  key = where


def list_bad(run):
  path = bad_examples.path(run, 0)
  bad_examples.BadExamples(Source(), 1.0, path).add(1, 'bad')


def draw(run):
  figure = drawing.figure.Figure((1, 1))
  drawing.save(figure, run / 'predictions.png')


# Each is kept from writing by its own, were the folder not refused before.
WRITERS = {
  'config.json': write_config,
  'lock.json': hold_lock,
  'metrics.jsonl': log_metrics,
  'evaluations.jsonl': record,
  'bad_examples.jsonl': list_bad,
  'predictions.png': draw,
}


@pytest.mark.parametrize('name', WRITERS)
@pytest.mark.parametrize('target', ['own', 'gone'])
def test_no_writer_follows_a_link(precious, name, target, monkeypatch):
  monkeypatch.setattr(recipes.files, 'refuse_links', lambda *_: None)
  (precious.run / name).symlink_to(precious.path.with_name(target))
  try:
    WRITERS[name](precious.run)
  except errors.UserError as error:
    assert name in str(error)
  assert precious.path.read_text() == 'precious\n'
  assert not precious.path.with_name('gone').exists()


@pytest.mark.parametrize('name', WRITERS)
def test_every_writer_writes_where_there_is_no_link(precious, name):
  WRITERS[name](precious.run)
  assert (precious.run / name).is_file()


@pytest.mark.parametrize('name', ['config.json', 'lock.json', 'metrics.jsonl'])
def test_no_writer_waits_for_a_pipe(precious, name):
  os.mkfifo(precious.run / name)
  try:
    WRITERS[name](precious.run)
  except errors.UserError as error:
    assert name in str(error)


# The index of a data set ------------------------------------------------------


@pytest.fixture
def split(tmp_path, monkeypatch):
  """TFDS's instructions for a split, in the folder of a stranger."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  folder = tmp_path / 'data'
  folder.mkdir()
  path = folder / 'x-0'
  path.write_bytes(samples.records([b'one', b'two', b'three']))
  return [
    types.SimpleNamespace(
      filename=str(path), skip=0, take=3, examples_in_shard=3
    )
  ]


def indices(folder):
  return sorted(folder.rglob('*.npy'))


def test_the_index_is_not_written_into_a_linked_folder(split, tmp_path):
  elsewhere = tmp_path / 'elsewhere'
  elsewhere.mkdir()
  (tmp_path / 'data/.vit_jax').symlink_to(elsewhere)
  assert tfrecord.read(split, 'x')[2] == b'three'
  assert not list(elsewhere.iterdir())
  assert len(indices(tmp_path / 'cache')) == 1


def test_the_index_replaces_a_link_and_leaves_its_target(split, tmp_path):
  tfrecord.read(split, 'x')
  (index,) = indices(tmp_path / 'data')
  own = tmp_path / 'own'
  own.write_text('precious')
  index.unlink()
  index.symlink_to(own)
  assert tfrecord.read(split, 'x')[1] == b'two'
  assert own.read_text() == 'precious' and not index.is_symlink()


@pytest.mark.parametrize(
  'offsets',
  [
    [0, -8, 5],
    [0, 1 << 40, 5],
    [0, 19],
    np.zeros(3),
    np.zeros((3, 1), np.int64),
    'text',
  ],
)
def test_an_index_that_points_elsewhere_is_made_anew(split, tmp_path, offsets):
  tfrecord.read(split, 'x')
  (index,) = indices(tmp_path / 'data')
  right = index.read_bytes()
  np.save(index, offsets)
  records_read = tfrecord.read(split, 'x')
  assert [records_read[i] for i in range(3)] == [b'one', b'two', b'three']
  assert index.read_bytes() == right


def test_a_manifest_names_no_file_elsewhere(tmp_path):
  from vit_jax.checkpoints import manifest

  step = samples.step_dir(tmp_path)
  (tmp_path / 'own').write_text('precious')
  for name in '../own', str(tmp_path / 'own'):
    text = json.dumps({'format': manifest.FORMAT, 'files': {name: [8, None]}})
    checksum = f'{manifest.zlib.crc32(text.encode()):08x}'
    (step / manifest.FILE).write_text(f'{text}\n{checksum}\n')
    with pytest.raises(manifest.Damaged, match='not in its folder'):
      manifest.check(step)
