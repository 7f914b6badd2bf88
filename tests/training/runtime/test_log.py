import datetime
import io
import json
import math
import struct

import pytest
from tensorboardX.proto import event_pb2

from vit_jax import errors
from vit_jax.training.runtime import log as logs
from vit_jax.training.runtime import metrics_file, process_log, writers

NOW = datetime.datetime(2026, 5, 17, 9, 30, tzinfo=datetime.UTC)
STAMP = '2026-05-17 09:30:00 '


class Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.fixture
def stream():
  return io.StringIO()


@pytest.fixture
def make_log(tmp_path, stream):
  def make_writers(say):
    run = writers.Run(tmp_path, tmp_path, {}, say)
    return writers.build(('tensorboard',), run)

  def make(**options):
    process = process_log.ProcessLog(lambda: NOW)
    options = {
      'stream': stream,
      'process': process,
      'make_writers': make_writers,
      **options,
    }
    return logs.RunLog(tmp_path, num_steps=400, **options)

  return make


def scalars(workdir):
  """Returns {(tag, step): value} of the TensorBoard files of a run."""
  found = {}
  for path in sorted((workdir / 'tensorboard').iterdir()):
    data = path.read_bytes()
    while data:
      (size,) = struct.unpack('<Q', data[:8])
      event = event_pb2.Event.FromString(data[12 : 12 + size])
      for value in event.summary.value:
        found[value.tag, event.step] = value.simple_value
      data = data[16 + size :]
  return found


TIMINGS = {
  'images_per_second': 1234.5,
  'images_per_second_per_chip': 154.3125,
  'mfu': 0.4123,
  'step_median': 0.1025,
  'step_worst': 1.5,
  'seconds_left': 35.2,
  'data_wait': 0.312,
  'evaluation': 12.3,
  'save': 0.41,
  'memory_in_use': 11_250_000_000,
  'memory_peak': 14_000_000_000,
  'goodput': 0.931,
}


def test_a_log_gets_a_line_per_call(make_log, stream):
  with make_log() as log:
    log.say('8 devices')
    log.start(0, [])
    values = {'loss': 2.3012, 'accuracy': 0.112, 'learning_rate': 0.00035}
    log.train(50, values, TIMINGS)
    log.evaluation(50, {'loss': 2.25, 'num_examples': 360})
  assert stream.getvalue().splitlines() == [
    f'{STAMP}8 devices',
    f'{STAMP}step 50/400  loss 2.301  accuracy 0.112  learning_rate 0.00035  '
    '1,234 img/s  154 per chip  MFU 41.2%  step 0.102 s  worst 1.5 s  '
    'data 0.31 s  evaluation 12 s  save 0.41 s  memory 11.2 GB  peak 14 GB  '
    'goodput 93.1%  ETA 0:00:35',
    f'{STAMP}step 50/400  eval  loss 2.250  num_examples 360',
  ]


def test_what_is_not_known_is_left_out(make_log, stream):
  with make_log() as log:
    log.start(0, [])
    rates = ('images_per_second', 'images_per_second_per_chip')
    log.train(50, {'loss': 2.5}, dict.fromkeys(rates, 100.0))  # Of one chip.
    log.train(60, {'loss': 2.5})
  assert stream.getvalue().splitlines() == [
    f'{STAMP}step 50/400  loss 2.500  100 img/s',
    f'{STAMP}step 60/400  loss 2.500',
  ]


def test_tensorboard_gets_all_timings(make_log, tmp_path):
  with make_log() as log:
    log.start(0, [])
    log.train(50, {'loss': 2.5}, TIMINGS)
  found = scalars(tmp_path)
  for name, value in TIMINGS.items():
    assert found[f'train/{name}', 50] == pytest.approx(value)


def test_the_metrics_come_back(make_log, tmp_path):
  with make_log() as log:
    log.start(0, [])
    log.train(50, {'loss': 2.5})
    log.evaluation(50, {'accuracy': 0.25, 'num_examples': 8})
  train, evaluation = metrics_file.read(tmp_path)
  assert train['step'] == 50 and train['split'] == 'train'
  assert train['loss'] == 2.5
  assert evaluation == {
    'step': 50,
    'split': 'eval',
    'accuracy': 0.25,
    'num_examples': 8,
  }


def test_each_line_is_on_disk_at_once(make_log, tmp_path):
  with make_log() as log:
    log.start(0, [])
    log.train(50, {'loss': 2.5})
    assert metrics_file.read(tmp_path)[0]['loss'] == 2.5


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null_in_strict_json(
  make_log, tmp_path, stream, value
):
  def refuse(constant):
    raise AssertionError(constant)

  with make_log() as log:
    log.start(0, [])
    log.train(50, {'loss': value})
  line = (tmp_path / 'metrics.jsonl').read_text()
  assert json.loads(line, parse_constant=refuse)['loss'] is None
  assert math.isnan(metrics_file.read(tmp_path)[0]['loss'])
  assert f'loss {value}' in stream.getvalue()


def test_tensorboard_gets_the_same_numbers(make_log, tmp_path):
  with make_log() as log:
    log.start(0, [])
    log.train(50, {'loss': 2.5, 'norm': math.nan})
    log.evaluation(50, {'loss': 2.0})
  found = scalars(tmp_path)
  assert found['train/loss', 50] == 2.5
  assert found['eval/loss', 50] == 2.0
  assert ('train/norm', 50) not in found


def steps_after(make_log, tmp_path, start):
  """Returns the steps of a run that died after 150 and resumed at `start`."""
  with make_log() as log:
    log.start(0, [])
    for step in 50, 100, 150:
      log.train(step, {'loss': 1.0})
  saved = [record for record in log.records if record['step'] <= start]
  with make_log() as log:
    log.start(start, saved)
    log.train(start + 50, {'loss': 2.0})
  return [(m['step'], m['loss']) for m in metrics_file.read(tmp_path)]


def test_resuming_replaces_the_lines_of_later_steps(make_log, tmp_path):
  steps = steps_after(make_log, tmp_path, 100)
  assert steps == [(50, 1.0), (100, 1.0), (150, 2.0)]


def test_starting_over_replaces_every_line(make_log, tmp_path):
  assert steps_after(make_log, tmp_path, 0) == [(50, 2.0)]


def test_starting_over_does_not_mind_what_was_there(make_log, tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('nonsense\nnonsense\n')
  assert steps_after(make_log, tmp_path, 0) == [(50, 2.0)]


def test_a_finished_run_started_again_keeps_every_line(make_log, tmp_path):
  with make_log() as log:
    log.start(0, [])
    log.train(400, {'loss': 1.0})
    log.evaluation(400, {'loss': 2.0})
  written = (tmp_path / 'metrics.jsonl').read_text()
  with make_log() as again:
    again.start(400, log.records)
  assert (tmp_path / 'metrics.jsonl').read_text() == written


def test_the_file_holds_nothing_that_a_clock_tells(make_log, tmp_path):
  with make_log() as log:
    log.start(0, [])
    log.train(50, {'loss': 2.5}, {'data_wait': 0.25})
  assert metrics_file.read(tmp_path) == [
    {'step': 50, 'split': 'train', 'loss': 2.5}
  ]
  assert scalars(tmp_path)['train/data_wait', 50] == 0.25


def test_what_a_full_disk_refused_comes_later(make_log, tmp_path, stream):
  path = tmp_path / 'metrics.jsonl'
  with make_log() as log:
    log.start(0, [])
    path.unlink()
    path.mkdir()  # Nothing can be written to it, whoever is asking.
    log.train(50, {'loss': 3.0})
    log.train(100, {'loss': 2.0})
    path.rmdir()
    log.train(150, {'loss': 1.0})
  losses = [line['loss'] for line in metrics_file.read(tmp_path)]
  assert losses == [3.0, 2.0, 1.0]
  assert stream.getvalue().count('cannot be written') == 1


def test_it_knows_which_evaluations_it_was_told(make_log):
  with make_log(is_writer=False) as log:
    log.start(0, [{'step': 50, 'split': 'eval', 'loss': 1.0}])
    log.train(60, {'loss': 1.0})
    log.evaluation(100, {'loss': 1.0})
    told = [step for step in (50, 60, 100) if log.has_evaluation(step)]
  assert told == [50, 100]


def test_a_line_cut_short_by_a_crash_is_dropped(make_log, tmp_path):
  with make_log() as log_before:
    log_before.start(0, [])
    log_before.train(50, {'loss': 1.0})
  path = tmp_path / 'metrics.jsonl'
  path.write_text(path.read_text() + '{"step": 100, "split": "tra')
  assert len(metrics_file.read(tmp_path)) == 1
  with make_log() as log:
    log.start(100, log_before.records)
    log.train(150, {'loss': 1.0})
  assert [m['step'] for m in metrics_file.read(tmp_path)] == [50, 150]


@pytest.mark.parametrize(
  'line',
  [
    '{"step": 1',
    '[]',
    '{"step": "a", "split": "eval"}',
    '{"split": "eval"}',
    '{"step": 1, "split": 2}',
    '',
  ],
)
def test_a_broken_line_is_named(tmp_path, line):
  good = '{"step": 50, "split": "train"}'
  (tmp_path / 'metrics.jsonl').write_text(f'{good}\n{line}\n{good}\n')
  with pytest.raises(errors.UserError, match=r'metrics\.jsonl, line 2 is not'):
    metrics_file.read(tmp_path)


def test_a_folder_without_metrics_is_named(tmp_path):
  with pytest.raises(errors.UserError, match=r'has no metrics\.jsonl; give'):
    metrics_file.read(tmp_path)


def test_only_the_writer_shows_and_writes(make_log, tmp_path, stream):
  with make_log(is_writer=False) as log:
    log.say('hello')
    log.start(0, [])
    log.train(50, {'loss': 1.0})
    log.evaluation(50, {'loss': 1.0})
  assert stream.getvalue() == ''
  assert [path.name for path in tmp_path.iterdir()] == [process_log.FOLDER]
  (lines,) = [path.read_text() for path in tmp_path.rglob('*.log')]
  for told in 'hello', 'step 50/400  loss 1.000', 'eval  loss 1.000', 'end: ':
    assert told in lines


def test_a_terminal_gets_a_bar(make_log, tmp_path):
  terminal = Terminal()
  with make_log(stream=terminal) as log:
    log.start(100, [])
    log.train(200, {'loss': 2.5}, TIMINGS)
    log.evaluation(200, {'accuracy': 0.5})
    log.say('saved')
  shown = terminal.getvalue()
  assert '200/400, loss 2.500  1,234 img/s  MFU 41.2%  ETA 0:00:35' in shown
  assert f'{STAMP}step 200/400  eval  accuracy 0.500\n' in shown
  assert f'{STAMP}saved\n' in shown
  assert 'step 200/400  loss' not in shown
  lines = process_log.path(tmp_path, 0).read_text()
  assert 'step 200/400  loss 2.500  1,234 img/s  154 per chip' in lines


def test_files_are_closed_when_a_run_dies(make_log, tmp_path):
  with pytest.raises(RuntimeError, match='died'), make_log() as log:
    log.start(0, [])
    log.train(50, {'loss': 2.5})
    raise RuntimeError('died')
  assert scalars(tmp_path)['train/loss', 50] == 2.5
