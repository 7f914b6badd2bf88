"""Who is gone is known to all others, in the words of the one that is gone."""

import signal
import socket
import subprocess
import sys
import threading

import pytest

from vit_jax.training.runtime import peers, process_log

HOST = socket.gethostname()


class Service:
  """JAX's store of keys and values."""

  def __init__(self):
    self._values, self._is_set = {}, threading.Event()

  def key_value_set(self, key, value):
    self._values[key] = value
    self._is_set.set()

  def blocking_key_value_get(self, key, timeout):
    assert self._is_set.wait(timeout / 1000)
    return self._values[key]


class Run:
  """The watches of a run of several processes, all of them in this one."""

  def __init__(self, count):
    self.left = [[] for _ in range(count)]
    service = Service()
    self.all = [
      peers.Peers(number, '127.0.0.1:1', self.left[number].append)
      for number in range(count)
    ]
    for each in self.all:
      each.start(service)

  def drop(self, number):
    """What the system does for a process that is killed."""
    self.left[number].append('killed')
    self.all[number].lost = peers.Lost(number, '')  # It says nothing any more.
    for each in list(self.all[number]._peers):
      each.shutdown(socket.SHUT_RDWR)

  def others(self, number):
    return [each for each in self.all if each is not self.all[number]]


@pytest.fixture
def run(monkeypatch, wait_until):
  monkeypatch.setattr(peers, 'GRACE_SECONDS', 0.05)
  monkeypatch.setattr(peers, 'MISTAKE_SECONDS', 0.05)
  monkeypatch.setattr(process_log, 'CURRENT', process_log.ProcessLog())
  run = Run(3)
  wait_until(
    lambda: {peer.number for peer in run.all[0]._peers.values()} == {1, 2}
  )
  yield run
  for each, left in zip(run.all, run.left):
    wait_until(lambda each=each, left=left: left or each.lost is None)


@pytest.mark.parametrize('number', [1, 2])
def test_all_others_know_who_was_killed(run, wait_until, capsys, number):
  run.drop(number)
  for each in run.others(number):
    assert each.knows.wait(60)
    assert each.lost == peers.Lost(number, HOST)
  wait_until(lambda: all(run.left))
  assert run.left[0] == [peers.STATUS]
  told = capsys.readouterr().err
  assert f'Process {number} on {HOST} is gone. Process 0 on {HOST} can' in told
  assert 'Restart all processes: the same command resumes' in told


def test_all_others_know_that_process_0_was_killed(run, wait_until):
  wait_until(lambda: next(iter(run.all[1]._peers.values())).host == HOST)
  run.drop(0)
  for each in run.others(0):
    assert each.knows.wait(60)
    assert each.lost.number == 0


@pytest.mark.parametrize('number', [0, 1])
def test_the_others_know_the_error(run, wait_until, capsys, number):
  run.all[number].part('ValueError: two\nlines', is_mistake=number == 0)
  for each in run.others(number):
    assert each.knows.wait(60)
    assert each.lost == peers.Lost(
      number, HOST, 'ValueError: two\nlines', number == 0
    )
  wait_until(lambda: run.left[2])
  assert f'Process {number} on {HOST} is gone: ValueError: two\n' in (
    capsys.readouterr().err.replace(f'[2 {HOST}] ', '')
  )


def test_an_end_in_order_is_no_loss(run, wait_until):
  run.all[1].part()
  run.drop(1)
  wait_until(lambda: len(run.all[0]._peers) == 1)
  assert run.all[0].lost is None
  run.drop(2)  # The first loss is that of another one.
  assert run.all[0].knows.wait(60)
  assert run.all[0].lost.number == 2


@pytest.mark.parametrize(
  'data',
  [
    b'GET / HTTP/1.1\r\n\r\n',
    b'{"hello": 1}\n',
    b'{"lost": [1, 2]}\n[]\n7\n',
    b'x' * 100_000,
    b'',
  ],
)
def test_a_stranger_at_the_port_is_nobody(run, data, wait_until):
  port = next(iter(run.all[1]._peers)).getpeername()[1]
  with socket.create_connection(('127.0.0.1', port)) as stranger:
    stranger.sendall(data)
  wait_until(lambda: len(run.all[0]._peers) == 2)
  assert run.all[0].lost is None
  run.drop(1)  # It still listens to the others.
  assert run.all[2].knows.wait(60)


ABORTS = """
import os, sys
from vit_jax.training.runtime import peers
watched = peers.Peers(1, 'node1:8476')
if sys.argv[1] == 'known':
  watched.lost = peers.Lost(0, 'node1', 'RuntimeError: a bug')
  watched.knows.set()
peers.end_on_abort(watched)
os.abort()
"""


@pytest.mark.parametrize(
  ('case', 'told'),
  [
    ('known', 'Process 0 on node1 is gone: RuntimeError: a bug. Process 1 on'),
    ('unknown', 'most likely, another process of the run is gone or does not'),
  ],
)
def test_last_words_follow_an_abort(case, told):
  done = subprocess.run(
    [sys.executable, '-c', ABORTS, case],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == peers.STATUS == 128 + signal.SIGABRT
  what, advice = done.stderr.splitlines()[-2:]
  assert told in what and 'Restart all processes' in advice
