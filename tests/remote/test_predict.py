"""`predict` and `analyze` of images and weights in object stores."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.data import small_data_sets
from tests.remote.local import save_weights, upload
from vit_jax import files
from vit_jax.cli import main

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def weights(tmp_path):
  return save_weights(tmp_path / 'a.npz')


@pytest.fixture
def photos(tmp_path):
  """A folder of images, of which one is in a folder of its own."""
  folder = tmp_path / 'photos'
  for name in 'a.png', 'b,c.png', 'more/ü#1.png':
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(small_data_sets.picture(name))
  (folder / 'note.txt').write_text('of no use')
  return folder


def run(command, *arguments):
  return main.main([command, *map(str, arguments)])


def test_images_of_a_store_give_the_same_logits(
  weights, photos, folder, tmp_path, capsys
):
  remote = upload(photos, folder / 'photos')
  checkpoint = upload(weights, folder / 'a.npz')
  wanted, found = tmp_path / 'local.npy', folder / 'out/logits.npy'
  for source, file, output in (
    (photos, weights, wanted),
    (remote, checkpoint, found),
  ):
    arguments = f'--input={source}', f'--checkpoint={file}', '--top=1'
    assert run('predict', *arguments, f'--logits={output}') == 0
  said = capsys.readouterr()
  assert f'{remote}/more/ü#1.png' in said.out
  assert said.err.count('left out: 1 file (.txt: 1)') == 2
  with files.open_regular(found) as file:
    np.testing.assert_array_equal(np.load(file), np.load(wanted))


def test_several_images_are_parted_by_commas(
  weights, photos, folder, tmp_path, capsys
):
  upload(photos, folder)
  for given, names in {
    f'{folder}/b,c.png': [f'{folder}/b,c.png'],
    f'{folder}/a.png,{folder}/more': [
      f'{folder}/a.png',
      f'{folder}/more/ü#1.png',
    ],
    f'{photos}/a.png,{folder}/a.png': [f'{photos}/a.png', f'{folder}/a.png'],
    f'{folder}/a.png,{photos}/a.png': [f'{folder}/a.png', f'{photos}/a.png'],
  }.items():
    assert run('predict', f'--input={given}', f'--checkpoint={weights}') == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(' ')] == names


def test_pixels_of_a_store_are_mapped(weights, folder, tmp_path):
  pixels = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3))
  np.save(tmp_path / 'x.npy', pixels.astype(np.float32))
  remote = upload(tmp_path / 'x.npy', folder / 'x.npy')
  for number, source in enumerate((tmp_path / 'x.npy', remote)):
    arguments = f'--input={source}', f'--features={tmp_path}/{number}.npy'
    assert run('predict', f'--checkpoint={weights}', *arguments) == 0
  np.testing.assert_array_equal(
    np.load(tmp_path / '0.npy'), np.load(tmp_path / '1.npy')
  )


def test_mistakes_are_one_line(weights, photos, folder, store, capsys):
  remote = upload(photos, folder)
  for arguments in (
    (f'--input={folder}/none', f'--checkpoint={weights}'),
    (f'--input={store.kind}://nobodys/x.png', f'--checkpoint={weights}'),
    (f'--input={store.kind}://nobodys/x.npy', f'--checkpoint={weights}'),
    (f'--input={remote}', f'--checkpoint={store.kind}://nobodys/x.npz'),
    (f'--input={remote}', f'--checkpoint={weights}', '--logits=az://b/x.npy'),
    ('--input=hdfs://h/x.png', f'--checkpoint={weights}'),
  ):
    assert run('predict', *arguments) == 2, arguments
    assert len(capsys.readouterr().err.splitlines()) == 1, arguments
  with store.failing(failing=1.0, status=403):
    for command, *arguments in (
      ('predict', f'--input={remote}', f'--checkpoint={weights}'),
      ('evaluate', f'--workdir={remote}'),
      ('evaluate', f'--dataset={remote}', f'--checkpoint={weights}'),
      ('verify', remote),
    ):
      assert run(command, *arguments) == 2
      assert len(capsys.readouterr().err.splitlines()) == 1, command


def test_a_broken_image_of_a_store_is_left_out(weights, photos, folder, capsys):
  (photos / 'a.png').write_bytes(b'')
  remote = upload(photos, folder)
  assert run('predict', f'--input={remote}', f'--checkpoint={weights}') == 1
  assert f'vit_jax: {remote}/a.png: ' in capsys.readouterr().err


def test_figures_are_written_to_a_store(weights, photos, folder, tmp_path):
  remote = upload(photos, folder / 'photos')
  for output in folder / 'figures', tmp_path / 'figures':
    arguments = f'--checkpoint={weights}', f'--output={output}'
    assert run('analyze', 'filters', *arguments) == 0
    assert run('analyze', 'rollout', *arguments, f'--input={remote}') == 0
  found = {p.name: p.read_bytes() for p in (folder / 'figures').iterdir()}
  assert found.keys() == {
    *('filters.npz', 'filters.png', 'rollout.npz', 'rollout.png')
  }
  for name in 'filters.png', 'rollout.png':
    assert found[name] == (tmp_path / 'figures' / name).read_bytes()


def test_weights_are_evaluated_on_images_of_a_store(
  photos, folder, tmp_path, capsys
):
  checkpoint = upload(save_weights(tmp_path / 'b.npz', 2), folder / 'b.npz')
  for label in 'cat', 'dog':
    path = photos / f'test/{label}/0.png'
    path.parent.mkdir(parents=True)
    path.write_bytes(small_data_sets.picture(label))
  upload(photos / 'test', folder / 'set/test')
  said = []
  for dataset, output in (
    (f'{folder}/set', f'{folder}/figures'),
    (photos, f'{tmp_path}/figures'),
  ):
    arguments = f'--checkpoint={checkpoint}', f'--dataset={dataset}'
    outputs = f'--output={output}', f'--results={output}/results.jsonl'
    chosen = '--split=test', '--evaluators=classification,per_class'
    assert run('evaluate', *arguments, *outputs, *chosen) == 0
    said.append(capsys.readouterr().out)
  assert said[0] == said[1]
  written = {p.name for p in (folder / 'figures').iterdir()}
  assert written == {p.name for p in (tmp_path / 'figures').iterdir()}
  assert {'confusion.png', 'mistakes.csv', 'results.jsonl'} <= written
  lines = files.read_lines(folder / 'figures/results.jsonl')
  assert len(lines) == 2 and f'"dataset": "{folder}/set"' in lines[0]


@pytest.mark.remote
def test_the_command_line_reads_and_writes_a_store(
  weights, photos, folder, store, tmp_path
):
  upload(photos, folder / 'photos')
  upload(weights, folder / 'a.npz')
  environment = os.environ | store.environment
  environment |= {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'vit_jax.cli', 'predict'),
      *(f'--checkpoint={folder}/a.npz', f'--input={folder}/photos'),
      *(f'--features={folder}/features.npy', '--top=2'),
    ],
    cwd=tmp_path,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.count('%') == 6 and 'Traceback' not in done.stderr
  with files.open_regular(folder / 'features.npy') as file:
    assert np.load(file).shape == (3, 8)
