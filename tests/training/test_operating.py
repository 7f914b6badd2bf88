"""What an operator sees of a run: its first lines, its timings, its logs."""

import itertools
import json
import types

import jax
import pytest

from vit_jax.config import schema
from vit_jax.data import pipeline
from vit_jax.training import session, train
from vit_jax.training.runtime import process_log, timings

PEAK = 1e10


def tiny_config(**run):
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 32, 'depth': 1, 'num_heads': 2, 'mlp_dim': 64})
  config.data.source = 'synthetic'
  config.data.update({'num_classes': 4, 'num_examples': 32})
  config.data.resolution = (8,)
  config.optimizer.warmup_steps = 0
  config.run.batch_size = 16
  config.run.num_steps = 20
  config.run.log_every = 4
  config.run.checkpoint_every = 6
  config.run.peak_flops_per_device = PEAK
  config.mesh.data = 2
  config.run.update(run)
  return config


def records(workdir, event):
  found, num_bad = timings.read(workdir)
  assert not num_bad
  return [each for each in found if each['event'] == event]


@pytest.fixture(scope='module')
def interrupted(tmp_path_factory):
  """The folder of a run that has failed after step 7, and was resumed."""
  workdir = tmp_path_factory.mktemp('interrupted')
  with pytest.MonkeyPatch.context() as patch:
    all_batches = pipeline.train_batches

    def cut_short(*args, **kwargs):
      yield from itertools.islice(all_batches(*args, **kwargs), 7)
      raise InterruptedError('the disk is gone')

    patch.setattr(pipeline, 'train_batches', cut_short)
    with pytest.raises(InterruptedError):
      train.run(tiny_config(), workdir)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(timings, 'STARVING', 0.0)
    train.run(tiny_config(log_parameter_norm=True, log_compiles=True), workdir)
  return workdir


def test_goodput_counts_on_over_a_restart(interrupted):
  first, second = records(interrupted, 'start')
  saved = records(interrupted, 'save')
  assert [each['step'] for each in saved] == [6, 7, 18]  # 12 has a line.
  lines = records(interrupted, 'train')
  assert [each['step'] for each in lines] == [4, 8, 12, 16, 20]
  (end,) = records(interrupted, 'end')
  useful = [
    each['useful_seconds'] for each in (lines[0], *saved[:2], *lines[1:], end)
  ]
  assert useful == sorted(useful) and useful[0] > 0
  assert lines[1]['time'] > second['time'] > saved[1]['time'] > first['time']
  since = end['since_first_start']
  assert since > end['time'] - second['time']
  assert end['goodput'] == pytest.approx(end['useful_seconds'] / since, 1e-3)


def test_the_utilization_is_that_of_the_rate(interrupted):
  flops = set()
  for line in records(interrupted, 'train'):
    rate = line['images_per_second']
    flops.add(line['mfu'] * PEAK * 2 / rate)
    assert line['images_per_second_per_chip'] == pytest.approx(
      rate / 2, rel=1e-5
    )
  first = process_log.path(interrupted, 0).read_text().partition(' FLOPs')[0]
  told = float(first.split()[-1]) / 16
  assert list(flops) == pytest.approx([told] * len(flops), rel=1e-3)


def test_the_log_holds_both_starts_and_why_the_first_ended(interrupted):
  text = process_log.path(interrupted, 0).read_text()
  first, second = text.split('end: an error, as above')
  assert first.count(f'jax {jax.__version__}') == 1
  assert 'InterruptedError: the disk is gone' in first
  assert 'Step 7 of 20 is saved. To resume' in first
  for told in (
    f'jax {jax.__version__}',
    'resumed at step 7',
    'step 20/20  accuracy',
    'parameter_norm',
    'saved step 20',
    'goodput',
  ):
    assert told in second
  assert text.splitlines()[-1].endswith('end: done')


def test_metrics_hold_no_timings(interrupted):
  lines = (interrupted / 'metrics.jsonl').read_text().splitlines()
  names = {name for line in lines for name in json.loads(line)}
  assert {'gradient_norm', 'learning_rate', 'parameter_norm'} <= names
  told = {n for each in records(interrupted, 'train') for n in each} - {'step'}
  assert not names & (told | {'data_wait', 'evaluation', 'save'})


def test_a_run_that_waits_for_data_names_the_fields(interrupted):
  text = process_log.path(interrupted, 0).read_text()
  assert text.count('all that remain about') == 1  # The first was too short.
  assert text.count('steps wait for data for') == 1
  assert ': raise data.num_threads or data.num_workers, give this' in text


@pytest.mark.parametrize(
  ('waiting', 'num_lines'), [(0.0, 1), (0.19, 1), (0.2, 2), (1.0, 2)]
)
def test_waiting_is_told_where_it_is_a_large_part(waiting, num_lines):
  said = []
  run = types.SimpleNamespace(
    _config=tiny_config(), log=types.SimpleNamespace(say=said.append)
  )
  session.Session._judge(run, timings.FirstSteps(0.25, waiting, 7500.0))
  assert said[0].startswith('a step takes 0.25 s, all that remain about 2:05:0')
  assert len(said) == num_lines


def test_each_compilation_is_logged_on_request(interrupted):
  text = process_log.path(interrupted, 0).read_text()
  first, second = text.split('end: an error, as above')
  assert 'Compiling jit(train_step)' in second
  assert 'Compiling' not in first
  assert not jax.config.jax_log_compiles
