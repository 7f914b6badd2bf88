"""Writers besides metrics.jsonl: what they hold, whatever interrupts a run."""

import csv
import importlib.util
import json
import struct
import time

import numpy as np
import pytest

from vit_jax import errors, files
from vit_jax.config import overrides, recipes, schema
from vit_jax.training.runtime import log as logs
from vit_jax.training.runtime import process_log, writers
from vit_jax.training.runtime.writers import csv_file, wandb_run

RATES = {'images_per_second': 12.5}


class Stopped(Exception):
  """As a kill, after which nothing more is written."""


@pytest.fixture
def said():
  return []


@pytest.fixture
def start(tmp_path, said):
  """Returns start(names, ...), which starts a run that writes by these."""

  def start(*names):
    def make(say):
      config = {'run.batch_size': 8, 'seed': 3}

      def tell(line):
        said.append(line)
        say(line)

      return writers.build(names, writers.Run(tmp_path, tmp_path, config, tell))

    process = process_log.ProcessLog()
    return logs.RunLog(tmp_path, 400, process=process, make_writers=make)

  return start


def rows(folder):
  with open(folder / csv_file.FILE, newline='') as file:
    return list(csv.DictReader(file))


def as_table(records):
  """Returns what `rows` should be, of the records of metrics.jsonl."""
  table = {}
  for record in records:
    row = table.setdefault(record['step'], {'step': record['step']})
    for name, value in record.items():
      if name not in ('step', 'split'):
        row[f'{record["split"]}/{name}'] = np.nan if value is None else value
  return table


def assert_same(found, records):
  table = as_table(records)
  assert [int(row['step']) for row in found] == list(table)
  for row in found:
    wanted = table[int(row['step'])]
    assert {name for name, text in row.items() if text} == set(wanted)
    for name, value in wanted.items():
      np.testing.assert_equal(float(row[name]), float(value))


def log_some(log, steps):
  for step in steps:
    loss = np.nan if step == 50 else 1 / step
    log.train(step, {'loss': loss, 'skipped': 0}, RATES)
    if step % 100 == 0:
      log.evaluation(step, {'accuracy': step / 400, 'num_examples': 8})


def test_csv_has_a_row_per_step_and_columns_as_they_come(start, tmp_path):
  with start('csv') as log:
    log.start(0, [])
    assert rows(tmp_path) == []
    log_some(log, range(25, 401, 25))
    assert_same(rows(tmp_path), log.records)
  header = (tmp_path / csv_file.FILE).read_text().split('\n')[0]
  assert header == (
    'step,train/loss,train/skipped,eval/accuracy,eval/num_examples'
  )
  assert {row['train/loss'] for row in rows(tmp_path)} > {'nan'}


def test_csv_has_no_gap_and_no_row_twice_after_a_kill(start, tmp_path):
  log = start('csv')
  log.__enter__()
  log.start(0, [])
  log_some(log, range(25, 226, 25))  # And a kill: no exit.
  kept = [record for record in log.records if record['step'] <= 150]
  with start('csv') as again:
    again.start(150, kept)
    assert_same(rows(tmp_path), kept)
    log_some(again, range(175, 401, 25))
    assert_same(rows(tmp_path), again.records)
  assert len(rows(tmp_path)) == 16


def test_csv_appends_where_it_can(start, tmp_path, monkeypatch):
  """A long run does not write megabytes at each step."""
  wrote = []
  append, whole = files.append_line, files.write_text

  def note_line(path, line):
    if path.name == csv_file.FILE:
      wrote.append(line)
    append(path, line)

  def note_text(path, text):
    if path.name == csv_file.FILE:
      wrote.append('whole')
    whole(path, text)

  monkeypatch.setattr(files, 'append_line', note_line)
  monkeypatch.setattr(files, 'write_text', note_text)
  with start('csv') as log:
    log.start(0, [])
    log.train(25, {'loss': 1.0})
    log.train(50, {'loss': 0.5})
    log.evaluation(50, {'loss': 0.25})
    log.train(75, {'loss': 0.125})
  assert wrote == ['whole', 'whole', '50,0.5', 'whole', '75,0.125,']
  assert_same(rows(tmp_path), log.records)


def test_a_full_disk_is_told_once_and_nothing_is_lost(
  start, tmp_path, monkeypatch, said
):
  append = files.append_line

  def full(path, line):
    if path.name == csv_file.FILE:
      raise OSError(28, 'No space left on device')
    append(path, line)

  whole = files.write_text

  def full_whole(path, text):
    if path.name == csv_file.FILE:
      raise OSError(28, 'No space left on device')
    whole(path, text)

  with start('csv') as log:
    log.start(0, [])
    log.train(25, {'loss': 1.0})
    with monkeypatch.context() as patch:
      patch.setattr(files, 'append_line', full)
      patch.setattr(files, 'write_text', full_whole)
      log.train(50, {'loss': 0.5})
      log.train(75, {'loss': 0.25})
  assert ''.join(said).count('No space left') == 1
  assert_same(rows(tmp_path), log.records)


def test_an_unknown_or_missing_writer_is_refused(monkeypatch):
  with pytest.raises(errors.UserError, match='Did you mean tensorboard'):
    writers.check(('jsonl', 'tensorbord'))
  with pytest.raises(errors.UserError, match='twice'):
    writers.check(('csv', 'csv'))
  writers.check(())  # metrics.jsonl is written whatever is listed.
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(errors.UserError, match=r"pip install 'vit_jax\[wandb\]'"):
    writers.check(('wandb',))


@pytest.mark.parametrize(
  'text, names',
  [
    ('jsonl,csv', ('jsonl', 'csv')),
    ('csv', ('csv',)),
    ("('jsonl','wandb')", ('jsonl', 'wandb')),
    ('()', ()),
  ],
)
def test_writers_are_chosen_on_the_command_line(text, names):
  config = schema.default()
  overrides.override(config, f'--config.run.writers={text}')
  assert config.run.writers == names
  assert recipes.digest(config) == recipes.digest(schema.default())


# Weights & Biases -------------------------------------------------------------


def history(folder):
  """Returns [{key: value}] of the offline runs of a folder, and their ids.

  Their files are logs of LevelDB: blocks of 32 KiB of (checksum, length, kind)
  and part of a record, a protocol buffer.
  """
  from wandb.proto import wandb_internal_pb2

  found, ids = [], set()
  for path in sorted((folder / 'wandb').glob('offline-run-*/*.wandb')):
    data, place, parts = path.read_bytes(), 7, b''
    while place + 7 <= len(data):
      left = 32768 - place % 32768
      if left < 7:
        place += left
        continue
      length, kind = struct.unpack('<HB', data[place + 4 : place + 7])
      parts += data[place + 7 : place + 7 + length]
      place += 7 + length
      if kind in (1, 4):  # Whole, or the last part.
        record = wandb_internal_pb2.Record.FromString(parts)
        parts = b''
        if record.HasField('run'):
          ids.add(record.run.run_id)
        if record.HasField('history'):
          items = record.history.item
          row = {
            item.key or '/'.join(item.nested_key): json.loads(item.value_json)
            for item in items
          }
          if set(row) - {'_step', '_timestamp', '_runtime'}:
            found.append(row)
  return found, ids


@pytest.fixture
def offline(monkeypatch, tmp_path):
  pytest.importorskip('wandb', reason='no wandb; the extra [wandb] brings it')
  for name in 'CACHE_DIR', 'CONFIG_DIR', 'DATA_DIR':
    monkeypatch.setenv(f'WANDB_{name}', str(tmp_path / 'of_wandb'))
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('WANDB_SILENT', 'true')


def test_a_resumed_run_continues_that_of_wandb(start, tmp_path, offline):
  with pytest.raises(Stopped), start('wandb') as log:
    log.start(0, [])
    log_some(log, range(25, 226, 25))
    raise Stopped
  known = json.loads((tmp_path / wandb_run.FILE).read_text())
  kept = [record for record in log.records if record['step'] <= 150]
  time.sleep(1.1)  # Their folders are called after the second.
  with start('wandb') as again:
    again.start(150, kept)
    log_some(again, range(175, 401, 25))
  found, ids = history(tmp_path)
  assert ids == {known['id']}
  table = as_table(again.records)
  assert [row['_step'] for row in found] == list(table)
  for row in found:
    wanted = table[row['_step']]
    assert row['train/images_per_second'] == 12.5
    for name, value in wanted.items():
      if name != 'step' and np.isfinite(value):
        assert row[name] == value


class Broken:
  """In place of their library; it can be made to fail."""

  def __init__(self):
    self.logged, self.fails = [], False
    self.Settings = dict

  def init(self, **options):
    if self.fails:
      raise RuntimeError('no api key')
    self.options = options
    return self

  def log(self, values, step):
    if self.fails:
      raise ConnectionError('no network')
    self.logged.append((step, values))

  def finish(self, exit_code):
    self.ended = exit_code


@pytest.fixture
def broken(monkeypatch):
  library = Broken()
  monkeypatch.setitem(__import__('sys').modules, 'wandb', library)
  return library


def test_trouble_with_wandb_ends_no_run(start, broken, said, tmp_path):
  with start('wandb') as log:
    log.start(0, [])
    broken.fails = True
    log.train(25, {'loss': 1.0})
    log.train(50, {'loss': 0.5})
    broken.fails = False
    log.train(75, {'loss': 0.25})
  assert len([line for line in said if 'no network' in line]) == 1
  assert [step for step, _ in broken.logged] == [75]
  assert broken.ended == 0
  assert broken.options['config'] == {'run.batch_size': 8, 'seed': 3}


def test_wandb_that_can_not_start_is_told_before_the_first_step(start, broken):
  broken.fails = True
  with (
    pytest.raises(errors.UserError, match=r'no api key.*WANDB_MODE=offline'),
    start('wandb') as log,
  ):
    log.start(0, [])


@pytest.mark.parametrize(
  'text', ['', '[]', '{"id": "a"}', '{"sent": [1, "x"]}']
)
def test_a_damaged_note_of_what_was_sent_is_told(
  start, broken, said, tmp_path, text
):
  (tmp_path / wandb_run.FILE).write_text(text)
  with start('wandb') as log:
    log.start(0, [])
    log.train(25, {'loss': 1.0})
  assert 'a new run is started' in said[0]
  assert [step for step, _ in broken.logged] == [25]
