"""Faults 36 to 43: numbers go wrong, and the run knows it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.checkpoints import digests
from vit_jax.config import recipes
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import assembly, train_step
from vit_jax.training.runtime import metrics_file

fault = pytest.mark.fault


def thorough(*values):
  return [pytest.param(value, marks=pytest.mark.chaos) for value in values]


NO_EVAL = '--config.run.eval_every=0'


@pytest.fixture(scope='module')
def components(runs):
  config = recipes.load(str(runs.recipe))
  mesh = meshes.build(config.mesh, jax.devices()[:1])
  return assembly.build(config, 4, mesh, num_steps=12)


def batch(components, scale=1.0):
  draw = np.random.default_rng(0)
  return placement.to_devices(
    {
      'image': draw.integers(0, 256, (8, 8, 8, 3), np.uint8),
      'label': draw.integers(0, 4, 8, np.int32),
      'mask': np.ones(8, bool),
      'index': np.arange(8),
      'scale': np.full(8, scale, np.float32),
    },
    components.mesh,
  )


class Scaled:
  """An objective whose loss is times the batch's `scale`."""

  def __init__(self, objective, of_gradient=lambda scale: scale):
    self._objective = objective
    self.init = objective.init

  def loss(self, params, batch, rng):
    loss, metrics = self._objective.loss(params, batch, rng)
    return loss * batch['scale'][0], metrics


def make_step(components, **options):
  return jax.jit(
    train_step.make_train_step(
      Scaled(components.objective), components.optimizer, **options
    )
  )


def leaves(state):
  kept = (state.params, state.opt_state, jax.random.key_data(state.rng))
  return jax.tree.leaves(jax.device_get(kept))


@pytest.mark.parametrize('scale', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('good_before', [0, 2])
@fault(
  36, 'NaN or Inf in a loss or gradient', 'skipped, state bitwise unchanged'
)
def test_a_step_that_is_not_finite_changes_no_bit(
  components, scale, good_before
):
  step, state = make_step(components), components.init(0)
  for _ in range(good_before):
    state, _ = step(state, batch(components))
  after, means = step(state, batch(components, scale))
  for given, wanted in zip(leaves(after), leaves(state)):
    np.testing.assert_array_equal(given, wanted)
  assert int(after.step) == good_before + 1
  assert means['skipped'].compute() == means['skipped_in_row'].compute() == 1
  again, means = step(after, batch(components))
  assert means['skipped'].compute() == 1
  assert means['skipped_in_row'].compute() == 0
  assert any((a != b).any() for a, b in zip(leaves(again), leaves(after)))


@fault(39, 'a NaN among losses that are watched for spikes', 'still watched')
def test_a_nan_does_not_blind_the_watch_for_spikes(components):
  step = make_step(components, loss_spike_factor=10.0)
  state = components.init(0)
  for scale in 1.0, np.nan, 1.0:
    state, _ = step(state, batch(components, scale))
  after, means = step(state, batch(components, 100.0))
  assert means['skipped'].compute() == 2
  for given, wanted in zip(leaves(after), leaves(state)):
    np.testing.assert_array_equal(given, wanted)
  _, means = step(after, batch(components, 5.0))
  assert means['skipped'].compute() == 2


def test_a_halted_step_changes_nothing_at_all(components):
  step, state = make_step(components), components.init(0)
  after, means = step(state, batch(components), np.array([False, True]))
  assert means['halted'].compute() == 1
  assert int(after.step) == 0
  assert digests.of(after) == digests.of(state)


def test_no_step_is_made_after_too_many_were_skipped(components):
  step, state = make_step(components, max_in_row=2), components.init(0)
  for _ in range(2):
    state, means = step(state, batch(components, np.nan))
  assert means['halted'].compute() == 0
  after, means = step(state, batch(components))
  assert means['halted'].compute() == 1
  assert digests.of(after) == digests.of(state)


def skipped(workdir):
  return {
    line['step']: line['skipped']
    for line in metrics_file.read(workdir)
    if line['split'] == 'train'
  }


@pytest.mark.parametrize('how', ['nan', 'inf_gradient'])
@fault(38, 'Inf gradient of a finite loss; NaN at the first step', 'counted')
def test_a_run_counts_what_it_skips(runs, tmp_path, how):
  runs.finish(tmp_path, faults={'spoil': {'batches': [1, 6], 'how': how}})
  counts = skipped(tmp_path)
  assert [counts[step] for step in (1, 5, 6, 12)] == [1, 1, 2, 2]
  assert all(np.isfinite(leaf).all() for leaf in runs.arrays(tmp_path).values())


ROWS = [7, 8, 9]


@pytest.fixture(scope='module')
def gone_back(runs, tmp_path_factory):
  """What a run leaves that had to go back from step 9 to step 6."""
  workdir = tmp_path_factory.mktemp('gone_back')
  shown = runs.finish(
    workdir, faults={'spoil': {'batches': ROWS, 'how': 'nan'}}
  )
  assert 'rolling back to the parameters of step 6; batches 7 to 9' in shown
  return runs.outcome(workdir), shown


@fault(
  40, 'three NaN in a row', 'rolls back to the last checkpoint; deterministic'
)
def test_going_back_leaves_out_the_batches(runs, gone_back, tmp_path):
  outcome, _ = gone_back
  lines = [json.loads(line) for line in outcome['metrics'].splitlines()]
  assert [line['step'] for line in lines if line['split'] == 'train'] == list(
    range(1, 13)
  )
  assert lines[-1]['step'] == 12
  assert [line for line in lines if line['split'] == 'train'][-1][
    'skipped'
  ] == 3


@pytest.mark.parametrize('killed_at', [8, 10, *thorough(7, 11)])
@fault(
  40, 'three NaN in a row, and an interruption before or after', 'the same bits'
)
def test_going_back_is_the_same_after_an_interruption(
  runs, gone_back, tmp_path, killed_at
):
  spoil = {'spoil': {'batches': ROWS, 'how': 'nan'}}
  stop = {**spoil, 'fail_at_step': {'step': killed_at}}
  assert runs.train(tmp_path, faults=stop).wait() == 1
  runs.finish(tmp_path, faults=spoil)
  runs.assert_same(runs.outcome(tmp_path), gone_back[0])


@fault(
  40,
  'three NaN in a row, again after a rollback',
  'stops and prints what to change',
)
def test_going_back_twice_to_one_step_ends_the_run(runs, tmp_path):
  spoil = {'spoil': {'batches': list(range(5, 13)), 'how': 'nan'}}
  run = runs.train(tmp_path, faults=spoil)
  assert run.wait() == 2
  assert 'again since step 3. Lower optimizer.learning_rate' in str(run)


@fault(
  41, 'a loss 100 times the mean, if run.loss_spike_factor is set', 'skipped'
)
def test_a_loss_spike_is_skipped_where_the_config_says(runs, tmp_path):
  spoil = {'spoil': {'batches': [6], 'how': 'spike'}}
  runs.finish(tmp_path, '--config.run.loss_spike_factor=10.0', faults=spoil)
  assert skipped(tmp_path)[12] == 1


@fault(42, 'NaN on a step to be saved', 'not saved; the next scheduled one is')
def test_a_step_that_was_skipped_is_not_saved(runs, tmp_path):
  faults = {
    'spoil': {'batches': [6], 'how': 'nan'},
    'fail_at_step': {'step': 8},
  }
  overrides = '--config.run.checkpoints_to_keep=9'
  assert runs.train(tmp_path, overrides, faults=faults).wait() == 1
  names = {path.name for path in (tmp_path / 'checkpoints').iterdir()}
  assert names == {'3'}


def test_numbers_that_are_not_finite_are_never_saved(components):
  state = components.init(0)
  bias = state.params['head']['bias']
  head = {**state.params['head'], 'bias': bias.at[1].set(jnp.nan)}
  state = state.replace(params={**state.params, 'head': head})
  with pytest.raises(
    errors.UserError, match='params/head/bias holds numbers that are not finite'
  ):
    digests.of(state)


@fault(43, "a bit flips in one device's copy of a parameter", 'stops at a save')
def test_copies_that_differ_are_found_at_the_next_save(runs, tmp_path):
  run = runs.train(
    tmp_path,
    settings={'jax_num_cpu_devices': 4},
    faults={'flip_replica': {'step': 6}},
  )
  assert run.wait() == 2
  assert 'params/head/bias differs between the devices' in str(run)
