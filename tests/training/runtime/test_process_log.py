"""The log of each process: all of its lines, and why it ended."""

import datetime
import logging
import re
import socket
import warnings

import pytest

from vit_jax import errors
from vit_jax.training.runtime import preemption, process_log

NOW = datetime.datetime(2026, 5, 17, 9, 30, tzinfo=datetime.UTC)
STAMP = f'2026-05-17T09:30:00.000+00:00 {socket.gethostname()} process'


@pytest.fixture
def log():
  return process_log.ProcessLog(lambda: NOW)


def lines(workdir, number=0):
  return process_log.path(workdir, number).read_text().splitlines()


@pytest.fixture
def third_of_four(monkeypatch):
  monkeypatch.setattr(process_log, '_process', lambda: (2, 4))


def test_every_line_has_its_time_host_and_process(log, tmp_path, third_of_four):
  with log.opened(tmp_path):
    log.write('one\ntwo')
  assert lines(tmp_path, 2) == [
    f'{STAMP} 2: one',
    f'{STAMP} 2: two',
    f'{STAMP} 2: end: done',
  ]


def test_a_terminal_is_told_process_and_host_only_of_several(
  log, monkeypatch, capsys
):
  log.say('alone')
  monkeypatch.setattr(process_log, '_process', lambda: (2, 4))
  log.say('one\ntwo')
  who = f'2026-05-17 09:30:00 [2 {socket.gethostname()}]'
  assert capsys.readouterr().err.splitlines() == [
    '2026-05-17 09:30:00 alone',
    f'{who} one',
    f'{who} two',
  ]


def test_a_restart_appends_and_what_came_before_the_workdir_is_there(
  log, tmp_path
):
  log.write('early')
  with log.opened(tmp_path):
    log.write('first')
  with log.opened(tmp_path):
    log.write('second')
  told = [line.partition(': ')[2] for line in lines(tmp_path)]
  assert told == ['early', 'first', 'end: done', 'second', 'end: done']


def test_each_run_of_a_process_has_its_own_lines(log, tmp_path):
  one, two = tmp_path / 'one', tmp_path / 'two'
  log.begin()
  with log.opened(one):
    pass
  log.write('after the first')
  log.begin()
  log.write('before the second')
  with log.opened(two):
    pass
  told = [
    [line.partition(': ')[2] for line in lines(folder)] for folder in (one, two)
  ]
  assert told == [
    ['end: done', 'after the first'],
    ['before the second', 'end: done'],
  ]


def test_warnings_and_logging_of_others_are_there(
  log, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(logging.getLogger(), 'handlers', [])  # Not pytest's.
  with warnings.catch_warnings():
    warnings.simplefilter('always')
    with log.opened(tmp_path):
      warnings.warn('old API', DeprecationWarning, stacklevel=1)
      logging.getLogger('orbax').warning('slow %s', 'disk')
      logging.getLogger('orbax').info('nothing')
  logging.getLogger('orbax').warning('too late')
  text = '\n'.join(lines(tmp_path))
  assert re.search(r'DeprecationWarning: old API \(.*test_process_log', text)
  assert 'WARNING: orbax: slow disk' in text
  assert 'nothing' not in text and 'too late' not in text
  assert 'slow disk' in capsys.readouterr().err  # As without a log.


def test_the_traceback_that_ends_it_is_there(log, tmp_path):
  with pytest.raises(KeyError), log.opened(tmp_path):
    raise KeyError('bug')
  told = '\n'.join(lines(tmp_path))
  assert 'Traceback' in told and "KeyError: 'bug'" in told
  assert told.endswith('end: an error, as above')


@pytest.mark.parametrize('kind', [errors.UserError, preemption.Preempted])
def test_an_error_that_says_all_has_no_traceback(log, tmp_path, kind):
  error = kind('Stopped after step 5.')
  error.add_note('To resume: ...')
  plain = (errors.UserError, preemption.Preempted)
  with pytest.raises(kind), log.opened(tmp_path, plain):
    raise error
  told = [line.partition(': ')[2] for line in lines(tmp_path)]
  assert told == ['end: Stopped after step 5.', 'To resume: ...']


def test_a_log_that_cannot_be_written_ends_nothing(log, tmp_path, capsys):
  (tmp_path / process_log.FOLDER).write_text('in the way')
  with log.opened(tmp_path):
    log.say('one')
    log.say('two')
  told = capsys.readouterr().err
  assert told.count('cannot be written') == 1
  assert 'one' in told and 'two' in told


@pytest.mark.parametrize('target', ['own', 'gone'])
def test_no_link_is_followed(log, tmp_path, target):
  own = tmp_path / 'own'
  own.write_text('precious\n')
  path = process_log.path(tmp_path, 0)
  path.parent.mkdir()
  path.symlink_to(tmp_path / target)
  with log.opened(tmp_path):
    log.say('one')
  assert own.read_text() == 'precious\n'
  assert not (tmp_path / 'gone').exists()


def test_what_would_move_the_cursor_is_escaped(log, tmp_path, capsys):
  with log.opened(tmp_path):
    log.say('a name \x1b[2J')
  assert '\x1b' not in capsys.readouterr().err + '\n'.join(lines(tmp_path))
