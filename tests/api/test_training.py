"""Training from Python: resumes, twice in a process, on data made there."""

import dataclasses
import os
import signal

import numpy as np
import pytest

import vit_jax
from vit_jax.config import schema
from vit_jax.training import session
from vit_jax.training.runtime import preemption

pytestmark = pytest.mark.usefixtures('undrawn')

TINY = {'width': 16, 'depth': 1, 'num_heads': 1, 'mlp_dim': 16}
STEPS = {'run.num_steps': 4}


def tiny_config():
  config = schema.default()
  config.model.update(name='ViT-Ti/4', **TINY)
  config.data.source, config.data.resolution = 'synthetic', (8,)
  config.data.num_examples, config.data.num_classes = 32, 2
  config.optimizer.warmup_steps = 0
  config.run.update(batch_size=8, num_steps=2, log_every=1)
  return config


def draw(count, seed=0):
  """Returns dark images of class 0 and bright ones of class 1."""
  rng = np.random.default_rng(seed)
  labels = np.arange(count) % 2
  images = (
    rng.integers(0, 120, (count, 8, 8, 3)) + 120 * labels[:, None, None, None]
  )
  return images.astype(np.uint8), labels


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return tmp_path_factory.mktemp('train') / 'run'


def test_a_run_is_trained_resumed_and_loaded(workdir, monkeypatch):
  monkeypatch.setattr('vit_jax.training.train._plot', lambda *_: None)
  before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
  report = vit_jax.train(tiny_config(), workdir)
  again = vit_jax.train(workdir / 'config.json', workdir)
  assert report['num_examples'] == 32 and again == report
  assert [
    signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)
  ] == before
  model = vit_jax.load(workdir)
  assert model.num_classes == 2 and model.image_size == (8, 8)
  fresh = vit_jax.create_model(
    'ViT-Ti/4', num_classes=2, image_size=8, seed=7, **TINY
  )
  config = tiny_config()
  config.seed, config.optimizer.learning_rate = 7, 0.0
  vit_jax.train(config, workdir.with_name('still'))
  still = vit_jax.load(workdir.with_name('still'))
  x = model.preprocess(draw(2)[0])
  np.testing.assert_array_equal(still(x).tokens, fresh(x).tokens)


def test_overrides_are_fields_or_texts(workdir, tmp_path):
  with pytest.raises(vit_jax.UserError, match=r'run\.num_steps: 2 .wanted: 4'):
    vit_jax.train(tiny_config(), workdir, overrides=STEPS)
  with pytest.raises(vit_jax.UserError, match='batch_sice is not a field'):
    vit_jax.train(tiny_config(), workdir, overrides={'run.batch_sice': 4})
  with pytest.raises(vit_jax.UserError, match=r'run\.num_steps: 2 .wanted: 4'):
    vit_jax.train(
      tiny_config(), workdir, overrides=['--config.run.num_steps=4']
    )
  with pytest.raises(vit_jax.UserError, match='one text'):
    vit_jax.train(tiny_config(), tmp_path, overrides='--config.run.num_steps=4')


@dataclasses.dataclass
class Source:
  """A source that one may write; it has what is asked for and no more."""

  images: np.ndarray
  classes: np.ndarray
  num_classes: int = 2
  class_names: tuple = ('dark', 'bright')

  def __len__(self):
    return len(self.images)

  def __getitem__(self, index):
    return {'image': self.images[index], 'label': int(self.classes[index])}


def test_arrays_are_trained_on_and_only_these_resume(tmp_path, capsys):
  data = draw(16), draw(7, seed=1)
  report = vit_jax.train(tiny_config(), tmp_path / 'arrays', data=data)
  source = Source(*draw(16)), Source(*draw(7, seed=1))
  alike = vit_jax.train(tiny_config(), tmp_path / 'source', data=source)
  assert alike == report  # Wherever the images come from.
  assert vit_jax.load(tmp_path / 'source').class_names == ('dark', 'bright')
  for name, others in (
    ('arrays', (draw(16, seed=2), data[1])),
    ('source', (Source(*draw(16, seed=2)), source[1])),
  ):
    with pytest.raises(vit_jax.UserError, match='data have changed'):
      vit_jax.train(tiny_config(), tmp_path / name, data=others)
  with pytest.raises(vit_jax.UserError, match='made in Python'):
    vit_jax.train(tmp_path / 'arrays/config.json', tmp_path / 'arrays')
  again = vit_jax.train(tiny_config(), tmp_path / 'arrays', data=data)
  assert again == report


def test_a_learned_difference_is_predicted(tmp_path):
  config = tiny_config()
  config.optimizer.learning_rate, config.run.num_steps = 0.03, 12
  data = draw(64), draw(16, seed=1)
  config.data.num_classes = None
  assert vit_jax.train(config, tmp_path, data=data)['accuracy'] == 1
  model = vit_jax.load(tmp_path).replace(class_names=('dark', 'bright'))
  images = [np.full((5, 9), level, np.uint8) for level in (40, 210)]
  found = [row[0][0] for row in model.predict(images)]
  assert found == ['dark', 'bright']


@pytest.mark.parametrize('wrong', [0, (), (1, 2, 3), (draw(2), 7)])
def test_what_is_no_data_is_refused(wrong, tmp_path):
  with pytest.raises(vit_jax.UserError, match=r'data|images'):
    vit_jax.train(tiny_config(), tmp_path, data=wrong)


def signalled(monkeypatch, number, workdir):
  """Trains until a signal comes, as the metrics of the second step do."""
  log_step = session.Session.log_step

  def interrupt(self, step, *args, **options):
    if step == 2:
      os.kill(os.getpid(), number)
    return log_step(self, step, *args, **options)

  with monkeypatch.context() as patched:
    patched.setattr(session.Session, 'log_step', interrupt)
    vit_jax.train(tiny_config(), workdir, overrides=STEPS)


def test_an_interrupt_saves_and_the_same_call_resumes(tmp_path, monkeypatch):
  with pytest.raises(KeyboardInterrupt, match=r'Stopped after step [23] of 4'):
    signalled(monkeypatch, signal.SIGINT, tmp_path / 'run')
  report = vit_jax.train(tiny_config(), tmp_path / 'run', overrides=STEPS)
  whole = vit_jax.train(tiny_config(), tmp_path / 'whole', overrides=STEPS)
  assert report == whole


def test_another_signal_leaves_the_program_as_it_does(tmp_path, monkeypatch):
  with pytest.raises(SystemExit) as left:
    signalled(monkeypatch, signal.SIGTERM, tmp_path)
  assert left.value.code == preemption.STATUS
