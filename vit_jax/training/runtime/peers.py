"""Which process of a run is gone, and why: told by all the others as they end.

A run cannot go on without one of its processes, and JAX then aborts the others
with a page of stacks. So each process keeps a connection to process 0, which
the system closes however a process ends. Process 0 tells the others; each of
them says in its last lines what has happened and what to do.

Where JAX is faster (process 0 is gone, or a machine is there and does not
respond), it aborts; the last lines come all the same.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from typing import NamedTuple

from vit_jax import files
from vit_jax.training.runtime import process_log

STATUS = 134  # As of a process that JAX aborts.
CONNECT_SECONDS = 10
# In which a process may tell an error of its own before it is ended. Process 0
# then takes as long again: JAX aborts the others as soon as it is gone.
GRACE_SECONDS = 2
MISTAKE_SECONDS = 15  # Likewise where all may find the same mistake.
ABORT_SECONDS = 10  # However stuck it is, an aborting process ends by then.

_KEY = 'vit_jax:peers'  # Under which JAX's service holds our port.
_MAX_LINE = 4000  # Bytes of a message.


class Lost(NamedTuple):
  """A process that is gone.

  Attributes:
    number: of the process.
    host: name of its machine.
    reason: why, if it could still say so, else ''.
    is_mistake: whether it has ended by a `UserError`.
  """

  number: int
  host: str
  reason: str = ''
  is_mistake: bool = False


class Peers:
  """Watches the other processes of a run, in a thread.

  Args:
    number: of this process.
    coordinator: 'host:port' of process 0, where JAX's processes meet.
    leave: ends this process with a status.
  """

  def __init__(self, number, coordinator, leave=os._exit):
    self._number = number
    self._host = coordinator.rpartition(':')[0].strip('[]')
    self._leave = leave
    self._peers = {}  # By socket; but for process 0, one to that alone.
    self._losing, self._leaving = threading.Lock(), threading.Lock()
    self.lost = None  # The first `Lost`.
    self.knows = threading.Event()  # Set with it.

  def start(self, client):
    """Connects to the other processes.

    Args:
      client: JAX's `DistributedRuntimeClient`.

    Raises:
      OSError: there is no way to them.
      RuntimeError: JAX's service does not respond.
    """
    if self._number == 0:
      server = _listen(self._host)
      client.key_value_set(_KEY, str(server.getsockname()[1]))
      thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
    else:
      port = client.blocking_key_value_get(_KEY, CONNECT_SECONDS * 1000)
      found = socket.create_connection((self._host, int(port)), CONNECT_SECONDS)
      _keep_alive(found)
      self._peers[found] = _Peer(0, self._host)
      _send(found, self._hello())
      thread = threading.Thread(target=self._follow, args=(found,), daemon=True)
    thread.start()

  def _hello(self):
    return {'hello': [self._number, socket.gethostname()]}

  def part(self, reason=None, is_mistake=False):
    """Says to the others that this process ends.

    Args:
      reason: an error; None: it ends in order.
      is_mistake: see `Lost`.
    """
    ours = Lost(self._number, socket.gethostname(), reason, is_mistake)
    self._tell({'end': True} if reason is None else {'lost': ours})

  def _tell(self, message):
    for each in list(self._peers):
      _send(each, message)

  def last_words(self):
    """Returns what is gone, and what to do, in two lines."""
    ours = f'process {self._number} on {socket.gethostname()}'
    if self.lost is None:
      what = (
        f'{ours.capitalize()} was aborted with status {STATUS}: most likely, '
        'another process of the run is gone or does not respond. The lines '
        'above have all that is known.'
      )
    else:
      why = f': {self.lost.reason}' if self.lost.reason else ''
      what = (
        f'Process {self.lost.number} on {self.lost.host} is gone{why}. '
        f'{ours.capitalize()} cannot go on without it, and ends with status '
        f'{STATUS}.'
      )
    return f'{what}\n{self._advice()}'

  def _advice(self):
    advice = (
      'Restart all processes: the same command resumes from the last '
      'checkpoint.'
    )
    folder = process_log.CURRENT.folder
    if self.lost is None or folder is None:
      return advice
    log = process_log.path(folder, self.lost.number)
    return f'{advice} What process {self.lost.number} said last: {log}'

  def end(self):
    """Ends this process, after its last words; from any thread, once."""
    if not self._leaving.acquire(blocking=False):
      time.sleep(ABORT_SECONDS)  # Another thread is about to do so.
    process_log.CURRENT.say(self.last_words())
    if self._number == 0:
      time.sleep(GRACE_SECONDS)
    self._leave(STATUS)

  # In threads -----------------------------------------------------------------

  def _serve(self, server):
    """Process 0: hears from the others, and tells them who is gone."""
    with selectors.DefaultSelector() as selector, server:
      selector.register(server, selectors.EVENT_READ)
      while True:
        for key, _ in selector.select():
          if key.fileobj is server:
            with contextlib.suppress(OSError):
              connected, _ = server.accept()
              _keep_alive(connected)
              self._peers[connected] = _Peer()
              _send(connected, self._hello())
              selector.register(connected, selectors.EVENT_READ)
          elif not self._hear(key.fileobj):
            selector.unregister(key.fileobj)

  def _follow(self, connected):
    """Another process: hears from process 0."""
    while self._hear(connected):
      pass

  def _hear(self, connected):
    """Takes what a peer says; returns whether it may say more."""
    peer = self._peers[connected]
    try:
      received = connected.recv(_MAX_LINE)
    except OSError:
      received = b''
    if not received:
      del self._peers[connected]
      connected.close()
      if peer.number is not None and not peer.has_ended:
        self._lose(Lost(peer.number, peer.host))
      return False
    for line in peer.lines(received):
      lost = peer.take(line)
      if lost is not None:
        self._lose(lost)
    return True

  def _lose(self, lost):
    with self._losing:
      if self.lost is not None:
        return
      self.lost = lost
      self.knows.set()
    if self._number == 0:
      self._tell({'lost': lost})
    seconds = MISTAKE_SECONDS if lost.is_mistake else GRACE_SECONDS
    timer = threading.Timer(seconds, self.end)
    timer.daemon = True
    timer.start()


class _Peer:
  """What is known of the process at the other end of a connection."""

  def __init__(self, number=None, host=''):
    self.number, self.host = number, host
    self.has_ended = False
    self._unread = b''

  def lines(self, received):
    """Yields the lines that are whole by now."""
    *whole, self._unread = (self._unread + received).split(b'\n')
    self._unread = self._unread[:_MAX_LINE]
    yield from whole

  def take(self, line):
    """Takes a line, which anybody may have sent; returns who is gone, if any.

    What is no message is no peer's, and ignored.
    """
    with contextlib.suppress(ValueError, TypeError):
      message = files.parse_json(line)
      if 'hello' in message:
        number, host = message['hello']
        self.number, self.host = int(number), str(host)
      elif 'end' in message:
        self.has_ended = True
      elif 'lost' in message:
        self.has_ended = True
        number, host, reason, is_mistake = message['lost']
        return Lost(int(number), str(host), str(reason), bool(is_mistake))
    return None


def end_on_abort(peers):
  """Has a process that JAX aborts say its last words, after JAX's own.

  Python's handlers would never run: abort() returns from them into the end of
  the process.
  """
  pid = os.getpid()

  def act(number):
    if os.getpid() != pid:  # A worker, forked later.
      os._exit(128 + number)
    signal.alarm(ABORT_SECONDS)
    if not peers.knows.wait(1):  # The thread may be about to learn who it is.
      faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
    peers.end()

  handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(act)
  _HANDLERS.append(handler)  # As long as the process lives.
  ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)


_HANDLERS = []


def _listen(host):
  """Returns a socket that listens at any port of an address of this machine."""
  try:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, backlog=4096)
  except OSError:  # The address is one of a router in front of it.
    return socket.create_server(('', 0), backlog=4096)


def _keep_alive(connected):
  """Has the system notice, in 15 seconds, that a machine is not there."""
  connected.settimeout(None)
  connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  for name, value in ('IDLE', 5), ('INTVL', 5), ('CNT', 2):
    option = getattr(socket, f'TCP_KEEP{name}', None)
    if option is not None:  # Not on every system.
      connected.setsockopt(socket.IPPROTO_TCP, option, value)


def _send(connected, message):
  data = json.dumps(message).encode() + b'\n'
  with contextlib.suppress(OSError):  # It is gone, then.
    connected.sendall(data)
