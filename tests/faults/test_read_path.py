"""Faults 14 to 23: what is read is not what was saved."""

import json
import os
import pathlib
import shutil

import jax
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.checkpoints import manager, manifest, step_folder, verify
from vit_jax.config import recipes
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly

fault = pytest.mark.fault


def thorough(*values):
  return [pytest.param(value, marks=pytest.mark.chaos) for value in values]


KEEP = '--config.run.checkpoints_to_keep=2'


@pytest.fixture(scope='module')
def original(runs, tmp_path_factory):
  """The folder of a run with checkpoints 9 and 12."""
  workdir = tmp_path_factory.mktemp('original')
  runs.finish(workdir, KEEP)
  return workdir


@pytest.fixture
def workdir(original, tmp_path):
  shutil.copytree(original, tmp_path / 'run')
  return tmp_path / 'run'


@pytest.fixture(scope='module')
def state(original):
  """Shapes and shardings of its state."""
  return build(recipes.load(str(original / 'config.json'))).state


def build(config):
  mesh = meshes.build(config.mesh, jax.devices()[:1])
  return assembly.build(config, 4, mesh, num_steps=12)


def files(step_dir):
  return sorted(path for path in step_dir.rglob('*') if path.is_file())


def restore(workdir, state, step=None):
  """Returns the step that is restored, and what was told."""
  told = []
  saved = manager.CheckpointManager(workdir / 'checkpoints', 2, told.append)
  return int(saved.restore(state, step)[0].step), told


@fault(
  14, 'one of 500 random bytes flips', 'found; older step used; file named'
)
def test_each_of_500_flipped_bytes_is_found(original):
  draw = np.random.default_rng(0)
  step_dir = original / 'checkpoints' / '12'
  paths = files(step_dir)
  for _ in range(500):
    path = paths[draw.integers(len(paths))]
    before = path.read_bytes()
    flipped = bytearray(before)
    flipped[draw.integers(len(before))] ^= 1 << draw.integers(8)
    path.write_bytes(flipped)
    try:
      with pytest.raises(manifest.Damaged, match=r'has changed|is of format'):
        manifest.check(step_dir)
    finally:
      path.write_bytes(before)
  manifest.check(step_dir)


@pytest.mark.parametrize(
  'kind', ['flipped', *thorough('truncated', 'missing', 'empty')]
)
@fault(
  15, 'a file is cut, missing, empty or changed', 'older step used, reported'
)
def test_the_run_goes_on_from_the_older_step(runs, finish_same, workdir, kind):
  path = max(
    files(workdir / 'checkpoints' / '12'), key=lambda p: p.stat().st_size
  )
  before = path.read_bytes()
  if kind == 'missing':
    path.unlink()
  else:
    changed = {
      'flipped': before[:50] + bytes([before[50] ^ 1]) + before[51:],
      'truncated': before[:-1],
      'empty': b'',
    }
    path.write_bytes(changed[kind])
  shown = finish_same(workdir, KEEP)
  assert 'checkpoints/12 is not used' in shown
  assert path.name in shown
  assert 'resumed at step 9' in shown


@fault(
  14,
  'a byte of a leaf flips in a large file',
  "found by the leaf's digest; named",
)
@pytest.mark.filterwarnings('ignore')  # What orbax leaves when a read fails.
def test_a_flip_in_a_file_too_large_for_a_checksum_is_found(
  workdir, state, monkeypatch
):
  monkeypatch.setattr(manifest, 'SMALL', 0)
  step_dir = workdir / 'checkpoints' / '12'
  manifest.commit(step_dir, {'step': 12, 'scheduled': True})
  data = max(
    (step_dir / 'state' / 'ocdbt.process_0' / 'd').iterdir(),
    key=lambda path: path.stat().st_size,
  )
  before = data.read_bytes()
  for place in np.linspace(0, len(before) - 1, 40).astype(int):
    changed = bytearray(before)
    changed[place] ^= 4
    data.write_bytes(changed)
    manifest.check(step_dir)  # By itself it can't see it.
    try:
      given, _ = step_folder.load(step_dir, state)
    except manifest.Damaged as damage:
      assert 'is not what was saved' in str(damage) or 'cannot be' in str(
        damage
      )
    else:  # No leaf lies there.
      data.write_bytes(before)
      same, _ = step_folder.load(step_dir, state)
      jax.tree.map(np.testing.assert_array_equal, given.params, same.params)
  data.write_bytes(before)


@fault(16, 'a manifest is there and the data are not', 'older step used')
def test_a_manifest_without_data_is_not_enough(workdir, state):
  shutil.rmtree(workdir / 'checkpoints' / '12' / 'state')
  step, told = restore(workdir, state)
  assert step == 9
  assert 'checkpoints/12 is not used: state/' in told[0]


@fault(4, 'the manifest alone is lost', 'every leaf verifies: it is used')
def test_a_lost_manifest_is_made_again(workdir, state):
  (workdir / 'checkpoints' / '12' / 'manifest.json').unlink()
  assert restore(workdir, state) == (12, [])
  manifest.check(workdir / 'checkpoints' / '12')


@fault(4, 'killed while the manifest is written', 'every leaf verifies; used')
@pytest.mark.parametrize('ending', ['tmp', '0a1b2c3d.tmp'])
def test_half_a_manifest_is_in_the_way_of_nothing(workdir, state, ending):
  folder = workdir / 'checkpoints' / '12'
  text = (folder / 'manifest.json').read_text()
  (folder / 'manifest.json').unlink()
  half = folder / f'manifest.json.{ending}'
  half.write_text(text[: len(text) // 2])
  assert restore(workdir, state) == (12, [])
  half.unlink(missing_ok=True)  # It is not listed.
  manifest.check(folder)


@fault(
  17, 'every checkpoint is corrupt', 'stops and lists them; does not start over'
)
def test_all_bad_is_an_error_with_a_list(runs, workdir):
  for step in 9, 12:
    metadata = workdir / 'checkpoints' / str(step) / 'run' / 'metadata'
    metadata.write_text(metadata.read_text()[:-1])
  run = runs.train(workdir, KEEP)
  assert run.wait() == 2
  assert 'No checkpoint in' in str(run)
  assert '12: run/metadata has' in str(run) and '9: run/metadata' in str(run)
  assert {path.name for path in (workdir / 'checkpoints').iterdir()} == {
    '9',
    '12',
  }


@fault(14, 'a step requested by number is corrupt', 'an error')
def test_a_step_asked_for_by_number_must_be_good(workdir, state):
  (workdir / 'checkpoints' / '12' / 'run' / 'metadata').write_text('{}')
  with pytest.raises(errors.UserError, match=r'12: run/metadata has'):
    restore(workdir, state, step=12)
  assert restore(workdir, state, step=9)[0] == 9


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('model.width', 32, r'! params/head/kernel: float32 \[16, 4\] \(wanted'),
    ('model.depth', 2, r'\+ params/encoder/block_1/.*missing'),
    ('model.position_embedding', 'none', r'- params/encoder/position_emb'),
    ('optimizer.name', 'sgd', r'- opt_state.*mu.*not wanted'),
    ('optimizer.accumulator_dtype', 'bfloat16', r'float32.*wanted: bfloat16'),
  ],
)
@fault(18, 'leaf missing, extra, of other shape or dtype', 'error with a diff')
def test_another_model_or_optimizer_is_refused_with_a_diff(
  workdir, field, value, message
):
  config = recipes.load(str(workdir / 'config.json'))
  group, name = field.split('.')
  config[group][name] = value
  with pytest.raises(errors.UserError, match=message):
    restore(workdir, build(config).state)


@fault(21, 'another mesh: 1, 2, 4, 8; FSDP, TP', 'the same bits')
@pytest.mark.parametrize(
  'mesh', [{'data': 2}, {'data': 8}, {'fsdp': 4}, {'fsdp': 2, 'tensor': 2}]
)
def test_any_layout_restores_into_any_other(workdir, state, tmp_path, mesh):
  config = recipes.load(str(workdir / 'config.json'))
  config.mesh.update(mesh)
  spread = assembly.build(config, 4, meshes.build(config.mesh), 12).state
  saved = manager.CheckpointManager(workdir / 'checkpoints', 2)
  there, _ = saved.restore(spread)
  again = manager.CheckpointManager(tmp_path / 'again', 2)
  again.finish(12, there, {'metrics': []})
  (back, _), (first, _) = again.restore(state), saved.restore(state)
  for given, wanted in zip(
    jax.tree.leaves((back.params, back.opt_state, there.params)),
    jax.tree.leaves((first.params, first.opt_state, first.params)),
  ):
    np.testing.assert_array_equal(np.asarray(given), np.asarray(wanted))


@fault(23, 'the folder of a step is a symbolic link', 'refused')
def test_symbolic_links_are_refused(workdir, state, tmp_path):
  step_dir = workdir / 'checkpoints' / '12'
  step_dir.rename(tmp_path / 'elsewhere')
  step_dir.symlink_to(tmp_path / 'elsewhere')
  step, told = restore(workdir, state)
  assert step == 9 and 'symbolic link' in told[0]
  assert (tmp_path / 'elsewhere' / 'manifest.json').exists()


def test_verify_lists_every_step_and_why_not(workdir, capsys):
  lines, good = verify.run(workdir)
  assert good and [line.split()[0] for line in lines] == ['12', '9']
  assert all(line.endswith('committed, verified') for line in lines)
  folder = workdir / 'checkpoints'
  (folder / '9' / 'manifest.json').unlink()
  (folder / '12' / 'state' / '_METADATA').write_text('{}')
  (folder / '6.damaged').mkdir()
  (folder / '15.orbax-checkpoint-tmp').mkdir()
  lines, good = verify.run(workdir)
  told = {line.split()[0]: line for line in lines}
  assert not good
  assert 'NOT verified: state/_METADATA has 2 bytes' in told['12']
  assert 'not committed (no manifest), verified' in told['9']
  assert 'set aside' in told['6.damaged']
  assert 'cut short' in told['15.orbax-checkpoint-tmp']


def test_verify_needs_a_run(tmp_path):
  with pytest.raises(errors.UserError, match='has no checkpoints'):
    verify.run(tmp_path)


@fault(22, 'a checkpoint of this version, kept in the tests', 'the same bits')
def test_the_golden_checkpoint_stays_readable(runs):
  golden = pathlib.Path(__file__).parents[1] / 'golden' / 'run'
  lines, good = verify.run(golden)
  assert good, lines
  wanted = json.loads((golden / 'sums.json').read_text())
  given = {
    path: float(np.abs(leaf.astype(np.float64)).sum())
    for path, leaf in runs.arrays(golden, step=3).items()
  }
  assert given == wanted
  assert os.listdir(golden / 'checkpoints') == ['3']
