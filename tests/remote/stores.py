"""Real emulators of object stores behind a proxy that can misbehave.

    python tests/remote/stores.py gs

starts one, prints its address and runs until its standard input ends. Requests
go through a proxy: it fails as real stores do (see `Faults`), counts, compares
generations for `ifGenerationMatch`, which the emulator of Google's store reads
but does not obey, and cuts the last bytes of an object, which that emulator
sends whole.
"""

import collections
import contextlib
import dataclasses
import http.client
import http.server
import json
import logging
import os
import random
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

KINDS = ('gs', 's3')
BUCKET = 'bucket'
_FAULTS, _COUNTS = '/_faults', '/_counts'
_SLOW_DOWN = {429: b'slow down', 503: b'try again', 507: b'full'}


@dataclasses.dataclass
class Faults:
  """What goes wrong with requests from now on.

  Attributes:
    seconds: that each one waits.
    failing: fraction answered with `status`.
    status: 429 or 503 pass; 403 does not.
    lost: fraction whose connection ends without an answer, the half of them
      once they have taken effect.
    methods: those to which this happens; all if empty.
    max_bytes: that may be stored in all; more is refused with 403 and the word
      quota, as stores do.
  """

  seconds: float = 0.0
  failing: float = 0.0
  status: int = 503
  lost: float = 0.0
  methods: tuple[str, ...] = ()
  max_bytes: int | None = None


class Store:
  """A store in a process of its own; a context.

  Args:
    kind: one of `KINDS`.
  """

  def __init__(self, kind):
    self.kind = kind
    self.url = f'{kind}://{BUCKET}'

  def __enter__(self):
    self._process = subprocess.Popen(
      [sys.executable, __file__, self.kind],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.address = self._process.stdout.readline().strip()
    return self

  def __exit__(self, *_):
    self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()

  @property
  def environment(self):
    """What lets clients find the store."""
    if self.kind == 'gs':
      return {
        'STORAGE_EMULATOR_HOST': self.address,
        'TENSORSTORE_GCS_HTTP_URL': self.address,
        'CLOUD_STORAGE_EMULATOR_ENDPOINT': self.address,
        'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
        'NO_GCE_CHECK': 'true',
      }
    return {
      'AWS_ENDPOINT_URL': self.address,
      'AWS_ACCESS_KEY_ID': 'nobody',
      'AWS_SECRET_ACCESS_KEY': 'nothing',
      'AWS_REGION': 'us-east-1',
      'AWS_DEFAULT_REGION': 'us-east-1',
      'AWS_EC2_METADATA_DISABLED': 'true',
    }

  @contextlib.contextmanager
  def failing(self, **faults):
    """A context in which requests fail, as `Faults` says."""
    self._set(Faults(**faults))
    try:
      yield
    finally:
      self._set(Faults())

  def counts(self):
    """Returns the requests since the faults were set.

    They are {'all': number, 'at_once': the most that waited together}.
    """
    with urllib.request.urlopen(self.address + _COUNTS) as answer:
      return json.load(answer)

  def _set(self, faults):
    data = json.dumps(dataclasses.asdict(faults)).encode()
    with urllib.request.urlopen(self.address + _FAULTS, data) as answer:
      answer.read()


class _Proxy(http.server.BaseHTTPRequestHandler):
  """Passes requests on, or lets them fail."""

  protocol_version = 'HTTP/1.1'
  target = None  # (host, port)
  checks_generations = False
  faults = Faults()
  stored = 0
  random = random.Random(0)
  lock = threading.Lock()
  local = threading.local()
  counts = collections.Counter()

  def handle_any(self):
    body = self._body()
    if self.path == _FAULTS:
      _Proxy.faults = Faults(**json.loads(body))
      _Proxy.counts = collections.Counter()
      self._answer(200, [], b'')
    elif self.path == _COUNTS:
      self._answer(200, [], json.dumps(self.counts).encode())
    else:
      self._count(1)
      try:
        self._handle(body)
      finally:
        self._count(-1)

  def _count(self, number):
    with self.lock:
      counts = self.counts
      counts['now'] += number
      counts['all'] += max(number, 0)
      counts['at_once'] = max(counts['at_once'], counts['now'])

  def _handle(self, body):
    faults, number = self.faults, self.random.random()
    if faults.seconds:
      time.sleep(faults.seconds)
    is_meant = not faults.methods or self.command in faults.methods
    if is_meant and number < faults.failing:
      self._fail(faults.status)
    elif is_meant and number < faults.failing + faults.lost:
      if self.random.random() < 0.5:
        self._pass_on(body)
      self.close_connection = True
    elif self._is_full(body):
      self._fail(403, b'quota exceeded')
    else:
      self._answer(*self._pass_on(body))

  do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

  def _is_full(self, body):
    if self.command not in ('PUT', 'POST'):
      return False
    limit = self.faults.max_bytes
    if limit is not None and self.stored + len(body) > limit:
      return True
    _Proxy.stored += len(body)
    return False

  def _body(self):
    if self.headers.get('Transfer-Encoding') == 'chunked':
      parts = []
      while size := int(self.rfile.readline().split(b';')[0], 16):
        parts.append(self.rfile.read(size))
        self.rfile.readline()
      self.rfile.readline()
      return b''.join(parts)
    return self.rfile.read(int(self.headers.get('Content-Length') or 0))

  def _pass_on(self, body):
    """Returns status, headers and body of the emulator's answer."""
    wanted = self._wanted_generation()
    if wanted is None:
      found = self._ask(self.command, self.path, self.headers, body)
      return self._cut(*found)
    with self.lock:  # No other write comes between.
      if self._generation(body) != wanted:
        text = b'{"error": {"code": 412, "message": "conditionNotMet"}}'
        return 412, [('Content-Type', 'application/json')], text
      return self._ask(self.command, self.path, self.headers, body)

  def _cut(self, status, headers, found):
    """Returns the answer to who asks for the last bytes alone."""
    asked = re.fullmatch(r'bytes=-(\d+)', self.headers.get('Range') or '')
    if status != 200 or not asked:
      return status, headers, found
    first = max(len(found) - int(asked[1]), 0)
    told = f'bytes {first}-{len(found) - 1}/{len(found)}'
    return 206, [*headers, ('Content-Range', told)], found[first:]

  def _ask(self, method, path, headers, body):
    kept = {
      name: value
      for name, value in headers.items()
      if name.lower() not in ('transfer-encoding', 'connection')
    }
    kept['Content-Length'] = str(len(body))
    for _ in range(2):  # The emulator may have closed an idle connection.
      connection = getattr(self.local, 'connection', None)
      if connection is None:
        connection = http.client.HTTPConnection(*self.target)
        self.local.connection = connection
      try:
        connection.request(method, path, body, kept)
        found = connection.getresponse()
        return found.status, found.getheaders(), found.read()
      except (http.client.HTTPException, OSError):
        connection.close()
        self.local.connection = None
    return 502, [], b''

  def _wanted_generation(self):
    query = urllib.parse.urlsplit(self.path).query
    wanted = urllib.parse.parse_qs(query).get('ifGenerationMatch')
    is_upload = self.command == 'POST' and '/upload/' in self.path
    return (
      wanted[0] if wanted and is_upload and self.checks_generations else None
    )

  def _generation(self, body):
    """Returns the generation of the object that is uploaded; 0: none."""
    parts = urllib.parse.urlsplit(self.path)
    name = urllib.parse.parse_qs(parts.query).get('name')
    if name is None:
      name = [json.loads(re.search(rb'\{.*\}', body)[0])['name']]
    quoted = urllib.parse.quote(name[0], safe='')
    status, _, found = self._ask(
      'GET', f'{parts.path.replace("/upload", "")}/{quoted}', {}, b''
    )
    return json.loads(found)['generation'] if status == 200 else '0'

  def _fail(self, status, text=None):
    text = text or _SLOW_DOWN.get(status, b'forbidden')
    if self.checks_generations:
      message = {'error': {'code': status, 'message': text.decode()}}
      self._answer(status, [], json.dumps(message).encode())
      return
    code = {403: b'AccessDenied', 429: b'SlowDown', 503: b'SlowDown'}[status]
    if b'quota' in text:
      code = b'QuotaExceeded'
    found = b'<Error><Code>%s</Code><Message>%s</Message></Error>' % (
      code,
      text,
    )
    self._answer(status, [('Content-Type', 'application/xml')], found)

  def _answer(self, status, headers, body):
    self.send_response_only(status)
    left_out = ('transfer-encoding', 'connection', 'content-length')
    lengths = [v for k, v in headers if k.lower() == 'content-length']
    for name, value in headers:
      if name.lower() not in left_out:
        self.send_header(name, value)
    is_head = self.command == 'HEAD' and lengths
    self.send_header('Content-Length', lengths[0] if is_head else len(body))
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(body)

  def log_message(self, *_):
    pass


def _start_gs():
  from gcp_storage_emulator import server

  # Its own lines would fill the pipe.
  logging.getLogger('gcp_storage_emulator').setLevel(logging.ERROR)
  emulator = server.create_server(
    '127.0.0.1', 0, in_memory=True, default_bucket=BUCKET
  )
  emulator.start()
  return emulator._api._httpd.server_address


def _start_s3():
  import boto3
  from moto.server import ThreadedMotoServer

  emulator = ThreadedMotoServer('127.0.0.1', 0, verbose=False)
  emulator.start()
  host, port = emulator.get_host_and_port()
  boto3.client(
    's3',
    endpoint_url=f'http://{host}:{port}',
    aws_access_key_id='nobody',
    aws_secret_access_key='nothing',
    region_name='us-east-1',
  ).create_bucket(Bucket=BUCKET)
  return host, port


class _Server(http.server.ThreadingHTTPServer):
  daemon_threads = True
  request_queue_size = 128

  def handle_error(self, *_):
    """A client that was killed is no error of the store."""


def _serve(kind):
  start = {'gs': _start_gs, 's3': _start_s3}[kind]
  _Proxy.target = start()
  _Proxy.checks_generations = kind == 'gs'
  server = _Server(('127.0.0.1', 0), _Proxy)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  print(f'http://127.0.0.1:{server.server_port}', flush=True)
  nowhere = os.open(os.devnull, os.O_WRONLY)  # The emulators say a lot.
  os.dup2(nowhere, 1)
  os.dup2(nowhere, 2)
  sys.stdin.read()
  os._exit(0)


if __name__ == '__main__':
  _serve(sys.argv[1])
