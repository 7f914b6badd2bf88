"""Traces of steps: those asked for, of all processes, and never a run's end."""

import gzip
import json
import os
import signal

import jax
import jax.numpy as jnp
import pytest

from vit_jax.config import schema
from vit_jax.training import session, train
from vit_jax.training.runtime import process_log, profiling


@pytest.fixture
def said():
  return []


@pytest.fixture
def make(tmp_path, said):
  def make(steps=(0, 0), number=None):
    return profiling.Profiler(tmp_path, steps, said.append, number)

  return make


def take(profiler, first, last):
  """Takes steps as a session does; returns those that were in a trace."""
  traced = []
  for step in range(first, last + 1):
    if profiler.starts(step):
      profiler.start(step)
    with profiler.annotated(step) as annotation:
      if annotation is not None:
        traced.append(step)
    if profiler.stops(step):
      profiler.stop(jnp.zeros(1))
  return traced


def events(path):
  """Returns the names of all events of a trace."""
  with gzip.open(path) as file:
    return {event.get('name') for event in json.load(file)['traceEvents']}


def traces(workdir):
  folder = workdir / profiling.FOLDER / 'plugins' / 'profile'
  return {
    path.name: sorted(each.name for each in path.iterdir())
    for path in sorted(folder.iterdir())
  }


def tiny_config():
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 32, 'depth': 1, 'num_heads': 2, 'mlp_dim': 64})
  config.data.source = 'synthetic'
  config.data.update({'num_classes': 4, 'num_examples': 32})
  config.data.resolution = (8,)
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 16
  config.run.num_steps = 9
  config.run.profile_steps = (2, 3)
  config.mesh.data = 1
  return config


def test_a_run_traces_what_was_asked_for_and_what_a_signal_asks_for(
  tmp_path, monkeypatch
):
  log_step = session.Session.log_step

  def signalling(self, step, means, now):
    if step == 5:
      os.kill(os.getpid(), signal.SIGUSR1)
    log_step(self, step, means, now)

  monkeypatch.setattr(session.Session, 'log_step', signalling)
  monkeypatch.setattr(profiling, 'ON_SIGNAL', 2)
  before = signal.getsignal(signal.SIGUSR1)
  train.run(tiny_config(), tmp_path)
  assert signal.getsignal(signal.SIGUSR1) == before
  found = traces(tmp_path)
  assert list(found) == ['steps_2_to_3', 'steps_6_to_7']
  for path in tmp_path.rglob('*.trace.json.gz'):
    assert any('train_step' in name for name in events(path) if name)
  assert len(list(tmp_path.rglob('*.xplane.pb'))) == 2
  text = process_log.path(tmp_path, 0).read_text()
  for told in 'profiling steps 2 to 3', 'profiled steps 6 to 7: 2 file(s)':
    assert told in text


@pytest.mark.parametrize(('first', 'traced'), [(1, [3, 4]), (4, [4]), (5, [])])
def test_a_resumed_run_traces_what_is_left(make, said, first, traced):
  with make((3, 4)) as profiler:
    assert take(profiler, first, 8) == traced
  assert len(said) == 2 * bool(traced)


def test_a_run_that_ends_stores_what_it_has(make, tmp_path):
  with make((3, 100)) as profiler:
    take(profiler, 1, 5)
  assert list(traces(tmp_path)) == ['steps_3_to_5']


def test_each_process_has_its_part_of_one_trace(make, tmp_path):
  for number in 0, 1:
    with make((1, 1), number) as profiler:
      take(profiler, 1, 2)
  (names,) = traces(tmp_path).values()
  parts = [{name.split('.')[0] for name in names}, len(names)]
  assert parts == [{'process_0', 'process_1'}, 4]


@pytest.mark.parametrize('function', ['start_trace', 'stop_trace'])
def test_a_failure_is_told_and_the_run_goes_on(
  make, said, monkeypatch, function
):

  def fail(*_):
    raise RuntimeError('no profiler here')

  monkeypatch.setattr(jax.profiler, function, fail)
  with make((2, 3)) as profiler:
    take(profiler, 1, 6)
  monkeypatch.undo()
  if function == 'stop_trace':
    jax.profiler.stop_trace()
  assert 'profiling has failed, the run goes on' in said[-1]
  assert 'no profiler here' in said[-1]


def test_a_workdir_that_cannot_be_written_is_told(make, said, tmp_path):
  (tmp_path / profiling.FOLDER).write_text('in the way')
  with make((1, 1)) as profiler:
    take(profiler, 1, 2)
  assert 'profiling has failed, the run goes on' in said[-1]


def test_nothing_of_a_trace_stays_elsewhere(make, tmp_path, monkeypatch):
  local = tmp_path / 'local'
  local.mkdir()
  monkeypatch.setattr(profiling.tempfile, 'tempdir', str(local))
  with make((1, 1)) as profiler:
    take(profiler, 1, 2)
  assert not list(local.iterdir())
