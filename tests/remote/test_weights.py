"""Weights in object stores: read, converted to every format, and back."""

import hashlib

import numpy as np
import pytest

from tests.remote.local import save_weights, upload
from vit_jax import errors
from vit_jax.cli import main
from vit_jax.files import folders
from vit_jax.weights import convert, loading, publishing
from vit_jax.weights.files import download, npz, safetensors

# {format: target, and what opens the weights in it}.
TARGETS = {
  'google': ('out.npz', npz.NpzFile),
  'big_vision': ('out.npz', npz.NpzFile),
  'huggingface': ('out', safetensors.SafetensorsFile),
  'timm': ('out', safetensors.SafetensorsFile),
}


@pytest.fixture
def source(tmp_path):
  return save_weights(tmp_path / 'a.npz')


def assert_same(open_file, one, two):
  """Compares all arrays of two files of weights."""
  with open_file(one) as mine, open_file(two) as other:
    assert mine.keys() == other.keys()
    for name in mine:
      np.testing.assert_array_equal(mine[name], other[name])


@pytest.mark.parametrize('to', TARGETS)
def test_every_format_is_written_and_comes_back(source, folder, tmp_path, to):
  remote = upload(source, folder / 'a.npz')
  name, open_file = TARGETS[to]
  assert main.main(['convert', remote, f'{folder}/{name}', f'--to={to}']) == 0
  convert.run(str(source), str(tmp_path / name), to)
  weights = name if name.endswith('.npz') else f'{name}/{publishing.WEIGHTS}'
  assert_same(open_file, folder / weights, tmp_path / weights)
  for path, size in folders.walk(folder).items():
    assert (tmp_path / path.relative_to(folder)).stat().st_size == size, path
  convert.run(f'{folder}/{name}', f'{folder}/back.npz', 'google')
  convert.run(str(tmp_path / name), str(tmp_path / 'back.npz'), 'google')
  assert_same(npz.NpzFile, folder / 'back.npz', tmp_path / 'back.npz')


def test_an_exported_model_lies_in_a_store(source, folder, tmp_path):
  assert main.main(['convert', str(source), f'{folder}/x', '--to=orbax']) == 0
  convert.run(f'{folder}/x', f'{folder}/back.npz', 'google')
  assert_same(npz.NpzFile, folder / 'back.npz', source)
  with pytest.raises(errors.UserError, match='no best checkpoint'):
    loading.find(f'{folder}/x:best')


@pytest.mark.remote
def test_steps_of_a_run_in_a_store_are_weights(runs, folder):
  runs.finish(folder / 'run', '--config.run.keep_best=true')
  newest, best = (loading.find(f'{folder}/run{x}') for x in ('', ':best'))
  assert newest.format == best.format == 'orbax'
  assert newest.card.num_classes == best.card.num_classes > 0


def test_a_file_is_copied_once_and_anew_when_it_changes(
  source, folder, capsys, store
):
  remote = upload(source, folder / 'a.npz')
  first = loading.find(remote)
  assert first.num_classes == 7 and first.path == remote
  assert capsys.readouterr().err.count('is copied to') == 1
  loading.find(remote)
  assert 'is copied' not in capsys.readouterr().err
  upload(save_weights(source, num_classes=4), folder / 'a.npz')
  assert loading.find(remote).num_classes == 4
  assert capsys.readouterr().err.count('is copied to') == 1


def test_a_digest_is_demanded_behind_the_path(source, folder):
  remote = upload(source, folder / 'a.npz')
  digest = hashlib.sha256(source.read_bytes()).hexdigest()
  assert loading.find(f'{remote}#sha256={digest}').num_classes == 7
  with pytest.raises(errors.UserError, match='not the file that was meant'):
    loading.find(f'{remote}#sha256={"0" * 64}')


def test_a_part_of_a_file_is_named_behind_it(source, folder, tmp_path):
  with npz.NpzFile(source) as file:
    npz.save(tmp_path / 'b.npz', {f'img/{n}': file[n] for n in file})
  remote = upload(tmp_path / 'b.npz', folder / 'b.npz')
  assert loading.find(f'{remote}:img').num_classes == 7
  with pytest.raises(errors.UserError, match="no parameters under 'txt'"):
    loading.find(f'{remote}:txt')


def test_what_is_missing_is_told_with_what_is_there(source, folder, store):
  upload(source, folder / 'weights.npz')
  with pytest.raises(errors.UserError, match=r'Did you mean .*/weights.npz\?'):
    loading.find(f'{folder}/weihgts.npz')
  with pytest.raises(errors.UserError, match='is no file or folder'):
    loading.find(f'{store.kind}://nobodys/run:best')
  upload(source, folder / 'odd/x.npz')
  with pytest.raises(errors.UserError, match='holds no weights'):
    loading.find(f'{folder}/odd')


def test_a_target_that_is_there_is_kept(source, folder):
  upload(source, folder / 'a.npz')
  with pytest.raises(errors.UserError, match='is there already'):
    convert.run(str(source), f'{folder}/a.npz', 'google')
  with pytest.raises(errors.UserError, match='is there already'):
    convert.run(str(source), str(folder), 'timm')


@pytest.mark.parametrize('damage', [b'', b'PK', b'\xff' * 100], ids=len)
def test_a_damaged_file_is_refused(folder, damage):
  for name in 'a.npz', 'a.safetensors':
    (folder / name).write_bytes(damage)
    with pytest.raises(errors.UserError, match=f'{folder}/{name}'):
      loading.find(f'{folder}/{name}')


def test_a_store_in_trouble_gives_the_same_weights(source, folder, store):
  remote = upload(source, folder / 'a.npz')
  with store.failing(failing=0.1, lost=0.05):
    convert.run(remote, f'{folder}/b.npz', 'google')
  assert_same(npz.NpzFile, folder / 'b.npz', source)


def test_a_refusal_is_one_line(source, folder, store, capsys):
  remote = upload(source, folder / 'a.npz')
  with store.failing(failing=1.0, status=403):
    assert main.main(['convert', remote, f'{folder}/b', '--to=timm']) == 2
    assert main.main(['convert', str(source), f'{folder}/b', '--to=timm']) == 2
  with store.failing(max_bytes=0):
    assert main.main(['convert', str(source), f'{folder}/b', '--to=timm']) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  said = [line for line in lines if line.startswith('vit_jax: error: ')]
  assert len(said) == 3, lines
  assert not any('Traceback' in line for line in lines)


@pytest.mark.parametrize(
  'address, is_public',
  [
    ('gs://vit_models/augreg/x.npz', True),
    ('gs://big_vision/x.npz', True),
    ('https://example.org/x.npz', True),
    ('gs://mine/x.npz', False),
    ('s3://vit_models/x.npz', False),
    ('hdfs://host/x.npz', False),
  ],
)
def test_released_files_need_no_store(address, is_public):
  assert download.is_address(address) == is_public


def test_without_a_library_gs_is_what_anybody_may_fetch(monkeypatch):
  monkeypatch.setattr(download.importlib.util, 'find_spec', lambda name: None)
  assert download.is_address('gs://mine/x.npz')


def test_other_stores_are_refused_by_name(source):
  for path in 'hdfs://host/x.npz', 'az://box/x.npz':
    with pytest.raises(errors.UserError, match='is not supported'):
      loading.find(path)
    with pytest.raises(errors.UserError, match='is not supported'):
      convert.run(str(source), path, 'google')
