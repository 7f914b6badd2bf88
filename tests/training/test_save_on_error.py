"""An error that ends a training: the last step is saved, the run resumes."""

import errno
import itertools

import jax
import numpy as np
import pytest

from vit_jax import errors, pytrees
from vit_jax.checkpoints import manager
from vit_jax.config import recipes, schema
from vit_jax.data import pipeline
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, train, validation
from vit_jax.training.runtime import metrics_file

pytestmark = pytest.mark.usefixtures('undrawn')

NUM_STEPS = 5


@pytest.fixture
def config():
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 16, 'depth': 1, 'num_heads': 1, 'mlp_dim': 16})
  config.model.dropout = 0.1
  config.data.source = 'synthetic'
  config.data.update({'num_classes': 4, 'num_examples': 40})
  config.data.resolution = (8,)
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 8
  config.run.num_steps = NUM_STEPS
  config.run.log_every = 1
  config.run.eval_every = 2
  config.run.checkpoint_every = 0  # Only what errors save counts.
  config.mesh.data = 1
  return config


@pytest.fixture(scope='module')
def outcomes():
  return {}


def outcome(workdir):
  """Returns the metrics and {path: NumPy array} of a finished run."""
  config = recipes.load(str(workdir / 'config.json'))
  components = assembly.build(config, 4, meshes.build(config.mesh))
  with manager.CheckpointManager(workdir / 'checkpoints', 1) as saved:
    assert saved.latest_step() == NUM_STEPS
    state, _ = saved.restore(components.state)
  state = state.replace(rng=jax.random.key_data(state.rng))
  metrics = (workdir / metrics_file.FILE).read_text()
  return metrics, pytrees.flatten(jax.device_get(state))


@pytest.fixture
def resumes_exactly(config, outcomes, tmp_path_factory):
  """Resumes a run to its end; it must be as if nothing had happened."""

  def resume(workdir):
    train.run(config, workdir)
    if not outcomes:
      whole = tmp_path_factory.mktemp('whole')
      train.run(config, whole)
      outcomes['whole'] = outcome(whole)
    np.testing.assert_equal(outcome(workdir), outcomes['whole'])

  return resume


def fail_after(count, error, patch, module, name):
  """Lets the generator function of a module fail after `count` items."""
  original = getattr(module, name)

  def failing(*args, **kwargs):
    yield from itertools.islice(original(*args, **kwargs), count)
    raise error

  patch.setattr(module, name, failing)


ERRORS = (
  errors.UserError('an image is broken'),
  MemoryError('no room for a batch'),
  OSError(errno.EIO, 'the disk is gone'),
  KeyboardInterrupt(),
)


@pytest.mark.parametrize(
  'error', ERRORS, ids=lambda error: type(error).__name__
)
def test_an_error_in_loading_is_saved_first(
  config, resumes_exactly, tmp_path, monkeypatch, error
):
  with monkeypatch.context() as patch:
    fail_after(3, error, patch, pipeline, 'train_batches')
    with pytest.raises(type(error)) as raised:
      train.run(config, tmp_path)
  (note,) = raised.value.__notes__
  assert note == (
    'Step 3 of 5 is saved. To resume: vit_jax train '
    f'--config={tmp_path}/config.json --workdir={tmp_path}'
  )
  raised.value.__notes__.clear()
  resumes_exactly(tmp_path)


@pytest.mark.parametrize('step', [2, 4, NUM_STEPS])
@pytest.mark.parametrize(
  'error', [errors.UserError('broken'), ZeroDivisionError('a bug')]
)
def test_a_step_is_saved_if_its_evaluation_fails(
  config, resumes_exactly, tmp_path, monkeypatch, step, error
):
  original, count = validation.report, step // 2 + step % 2

  def report(*args, **kwargs):
    nonlocal count
    count -= 1
    if not count:
      raise error
    return original(*args, **kwargs)

  with monkeypatch.context() as patch:
    patch.setattr(validation, 'report', report)
    with pytest.raises(type(error), match=f'Step {step} of 5 is saved'):
      train.run(config, tmp_path)
  error.__notes__.clear()
  resumes_exactly(tmp_path)


def test_a_step_that_has_lost_its_state_is_not_saved(
  config, tmp_path, monkeypatch
):
  original = train._compile

  def compile_to_fail(*args):
    step, predict = original(*args)

    def train_step(state, *rest):
      if int(state.step) == 3:
        jax.tree.map(lambda leaf: leaf.delete(), state)
        raise RuntimeError('out of memory')
      return step(state, *rest)

    return train_step, predict

  config.run.checkpoint_every = 2
  monkeypatch.setattr(train, '_compile', compile_to_fail)
  with pytest.raises(RuntimeError, match='out of memory') as raised:
    train.run(config, tmp_path)
  assert raised.value.__notes__[0].startswith('Step 2 of 5 is saved')


def test_an_error_in_the_save_is_not_saved_again(config, tmp_path, monkeypatch):
  tries = []

  def commit(*_):
    tries.append(1)
    raise OSError(errno.ENOSPC, 'No space left on device')

  config.run.checkpoint_every = 1
  monkeypatch.setattr(manager.manifest, 'commit', commit)
  with pytest.raises(manager.SaveError, match='make room') as raised:
    train.run(config, tmp_path)
  assert len(tries) == manager.MAX_FAILURES
  assert not hasattr(raised.value, '__notes__')  # There is nothing to resume.
