"""Files are fetched over real sockets: resumed, checked, whole or not there."""

import base64
import contextlib
import hashlib
import http.server
import stat
import threading
import types

import numpy as np
import pytest

from vit_jax.weights.files import download

DATA = np.random.default_rng(0).bytes(3 << 20)


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves DATA as the test's `site` says, and notes what was asked."""

  protocol_version = 'HTTP/1.1'
  told = None  # In place of the true Content-Range.

  def do_HEAD(self):
    self._answer(body=False)

  def do_GET(self):
    self._answer(body=True)

  def log_message(self, *_):
    pass

  def _answer(self, body):
    site = self.server.site
    start = self._start() if site.ranges else 0
    if self.headers.get('If-Range', site.etag) != site.etag:
      start = 0
    site.asked.append((self.command, self.path, self.headers.get('Range')))
    if self.path == '/moved':
      return self._head(302, {'Location': site.target, 'Content-Length': 0})
    if not self.path.startswith('/a/file.npz'):
      return self._head(404, {'Content-Length': 0})
    data = site.data[start:]
    headers = {'Content-Length': len(data), 'ETag': site.etag, **site.headers}
    if body and site.then:
      site.etag, site.data = site.then.pop()
    if start:
      end = len(site.data)
      headers['Content-Range'] = f'bytes {start}-{end - 1}/{end}'
    if start and self.told:
      headers['Content-Range'] = self.told
    self._head(206 if start else 200, headers)
    if not body:
      return None
    if site.cuts:  # The connection breaks in the middle.
      data = data[: site.cuts.pop(0)]
      self.close_connection = True
    self.wfile.write(data)
    return None

  def _start(self):
    span = self.headers.get('Range', 'bytes=0-')
    return int(span.removeprefix('bytes=').partition('-')[0])

  def _head(self, status, headers):
    self.send_response(status)
    for name, value in headers.items():
      if value is not None:
        self.send_header(name, str(value))
    self.end_headers()


@pytest.fixture
def site():
  """A server on this machine; its attributes say how it behaves."""
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  root = f'http://127.0.0.1:{server.server_port}'
  server.site = types.SimpleNamespace(
    root=root,
    url=f'{root}/a/file.npz',
    data=DATA,
    etag='"one"',
    headers={},
    ranges=True,
    cuts=[],
    then=[],
    asked=[],
    target='',
  )
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  yield server.site
  server.shutdown()
  server.server_close()
  thread.join()


def files(folder):
  return [path for path in folder.rglob('*') if path.is_file()]


def ranges(site):
  return [span for command, _, span in site.asked if command == 'GET']


def test_a_file_is_fetched_once(site, tmp_path):
  path = download.fetch(site.url, tmp_path)
  assert path.read_bytes() == DATA
  asked = list(site.asked)
  assert download.fetch(site.url, tmp_path) == path
  assert site.asked == asked
  assert files(tmp_path) == [path]


def test_a_broken_connection_is_taken_up_where_it_broke(site, tmp_path):
  site.cuts = [1 << 20, 1 << 20]
  path = download.fetch(site.url, tmp_path)
  assert path.read_bytes() == DATA
  assert ranges(site) == [None, f'bytes={1 << 20}-', f'bytes={2 << 20}-']


def test_another_attempt_goes_on_with_what_an_earlier_one_left(
  site, tmp_path, monkeypatch
):
  monkeypatch.setattr(download, 'ATTEMPTS', 1)
  site.cuts = [1 << 20]
  with pytest.raises(download.DownloadError, match='put it at'):
    download.fetch(site.url, tmp_path)
  (part,) = files(tmp_path)
  assert part.suffix == '.part'
  assert download.fetch(site.url, tmp_path).read_bytes() == DATA
  assert ranges(site) == [None, f'bytes={1 << 20}-']
  assert len(files(tmp_path)) == 1


def test_a_part_of_another_version_is_not_gone_on_with(
  site, tmp_path, monkeypatch
):
  monkeypatch.setattr(download, 'ATTEMPTS', 1)
  site.cuts = [1 << 20]
  with pytest.raises(download.DownloadError):
    download.fetch(site.url, tmp_path)
  site.etag, site.data = '"two"', DATA[::-1]
  assert download.fetch(site.url, tmp_path).read_bytes() == DATA[::-1]
  assert ranges(site) == [None, None]


def test_a_server_that_knows_no_ranges_sends_all_again(site, tmp_path):
  site.ranges, site.cuts = False, [1 << 20]
  assert download.fetch(site.url, tmp_path).read_bytes() == DATA


def test_two_at_once_fetch_it_once(site, tmp_path):
  threads = [
    threading.Thread(target=download.fetch, args=(site.url, tmp_path))
    for _ in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  (path,) = files(tmp_path)
  assert path.read_bytes() == DATA
  assert len(ranges(site)) == 1


def test_a_digest_that_was_demanded_is_checked(site, tmp_path):
  digest = hashlib.sha256(DATA).hexdigest()
  path = download.fetch(f'{site.url}#sha256={digest}', tmp_path)
  assert path.read_bytes() == DATA
  path.unlink()
  with pytest.raises(download.DownloadError, match='its sha256 is'):
    download.fetch(f'{site.url}#sha256={"0" * 64}', tmp_path)
  assert not files(tmp_path)
  with pytest.raises(download.DownloadError, match='is no digest'):
    download.fetch(f'{site.url}#md4=0', tmp_path)


def test_a_digest_that_the_server_tells_is_checked(site, tmp_path):
  other = base64.b64encode(hashlib.md5(b'other').digest()).decode()
  site.headers = {'x-goog-hash': f'crc32c=AAAAAA==, md5={other}'}
  with pytest.raises(download.DownloadError, match='its md5 is'):
    download.fetch(site.url, tmp_path)
  assert not files(tmp_path)


def test_a_file_of_quite_another_size_is_not_fetched(site, tmp_path):
  with pytest.raises(download.DownloadError, match='should have about'):
    download.fetch(site.url, tmp_path, num_bytes=len(DATA) // 2)
  assert ranges(site) == []
  assert download.fetch(site.url, tmp_path, num_bytes=len(DATA) + 9000)


@pytest.mark.parametrize('name', ['sha256', 'md5'])
def test_a_digest_that_was_demanded_is_checked_of_a_cached_file(
  site, tmp_path, name
):
  address = f'{site.url}#{name}={hashlib.new(name, DATA).hexdigest()}'
  path = download.fetch(address, tmp_path)
  assert download.fetch(address, tmp_path) == path
  path.write_bytes(DATA[:-1] + b'?')
  with pytest.raises(download.DownloadError, match=rf'its {name} is .* Remove'):
    download.fetch(address, tmp_path)
  assert len(ranges(site)) == 1


def test_a_size_that_is_known_is_checked_of_a_cached_file(site, tmp_path):
  path = download.fetch(site.url, tmp_path, num_bytes=len(DATA))
  path.write_bytes(DATA[: len(DATA) // 2])
  with pytest.raises(download.DownloadError, match='should have about'):
    download.fetch(site.url, tmp_path, num_bytes=len(DATA))


def test_the_query_tells_files_apart(site, tmp_path):
  one, two = (
    download.fetch(f'{site.url}?version={version}', tmp_path)
    for version in (1, 2)
  )
  assert one != two and one.name == two.name == 'file.npz'
  assert len(ranges(site)) == 2


def test_two_versions_are_never_joined(site, tmp_path):
  """The file changes while it is fetched; the rest is asked for by version."""
  site.cuts, site.then = [1 << 20], [('"two"', DATA[::-1])]
  assert download.fetch(site.url, tmp_path).read_bytes() == DATA[::-1]
  assert ranges(site) == [None, f'bytes={1 << 20}-']


def test_without_a_version_nothing_is_resumed(site, tmp_path):
  site.cuts, site.etag = [1 << 20], 'W/"weak"'
  assert download.fetch(site.url, tmp_path).read_bytes() == DATA
  assert ranges(site) == [None, None]


@pytest.mark.parametrize(
  'told',
  [
    'bytes 0-1/3145728',
    f'bytes {1 << 20}-2/7',
    'bytes=1048576-',
    'items 1-2/3',
  ],
)
def test_a_part_that_was_not_asked_for_is_refused(site, tmp_path, told):
  site.cuts, site.headers = [1 << 20], {}
  Handler.told = told
  try:
    with pytest.raises(download.DownloadError, match='was asked for what'):
      download.fetch(site.url, tmp_path)
  finally:
    Handler.told = None
  assert download.fetch(site.url, tmp_path).read_bytes() == DATA


def test_never_more_than_announced_is_kept(site, tmp_path):
  """A body without a length may be as long as it likes."""
  site.headers = {'Content-Length': None, 'Connection': 'close'}
  with pytest.raises(download.DownloadError, match='more than the 2040 bytes'):
    download.fetch(site.url, tmp_path, num_bytes=2000)
  assert all(not path.stat().st_size for path in files(tmp_path))


def test_no_more_than_the_largest_file_is_fetched(site, tmp_path, monkeypatch):
  monkeypatch.setattr(download, 'MAX_BYTES', len(DATA) - 1)
  with pytest.raises(download.DownloadError, match='no more than'):
    download.fetch(site.url, tmp_path)
  assert ranges(site) == []


def test_what_is_packed_on_the_way_is_refused(site, tmp_path):
  site.headers = {'Content-Encoding': 'gzip'}
  with pytest.raises(download.DownloadError, match='is sent as gzip'):
    download.fetch(site.url, tmp_path)


def test_what_is_too_slow_to_end_is_ended(site, tmp_path, monkeypatch):
  monkeypatch.setattr(download, 'SPELL', 0)
  monkeypatch.setattr(download, 'MIN_SPEED', 1 << 40)
  with pytest.raises(download.DownloadError, match='which never ends'):
    download.fetch(site.url, tmp_path)


def test_a_redirection_to_this_machine_is_refused(site, tmp_path):
  """Only what was typed may be asked of the own machine's services."""
  site.target = 'http://127.0.0.1:9/secrets'
  with pytest.raises(download.DownloadError, match='was not asked for'):
    download.fetch(f'{site.root}/moved', tmp_path)
  with (
    pytest.raises(download.DownloadError, match='was not asked for'),
    download._session('https://example.com/a') as session,
  ):
    session.get(site.url)
  assert ranges(site) == []


def test_the_cache_is_private(site, tmp_path):
  cache = tmp_path / 'cache'
  download.fetch(site.url, cache)
  assert stat.S_IMODE(cache.stat().st_mode) == 0o700
  cache.chmod(0o777)
  download.fetch(f'{site.url}?other', cache)
  assert stat.S_IMODE(cache.stat().st_mode) == 0o755


@pytest.mark.parametrize(
  'address',
  [
    'https://../a.npz',
    'https://x.org/%2e%2e/%2e%2e/a.npz',
    'https://x.org/..%2f..%2fa.npz',
    'https://compilation/a.npz',
    'https://x@../a.npz?../..',
  ],
)
def test_no_name_leaves_the_cache_or_meets_another_folder(tmp_path, address):
  path = download.path_of(address, tmp_path)
  assert path.is_relative_to(tmp_path) and '..' not in path.parts
  folder = path.relative_to(tmp_path).parts[0]
  assert folder not in ('compilation', 'tfrecord_index')


@pytest.mark.parametrize(
  'address',
  [
    'https://x.org/a%00.npz',
    'https://x.org/a%1b[2J.npz',
    f'https://x.org/{"a" * 300}.npz',
    'https://[::1/a.npz',
  ],
)
def test_a_name_that_no_file_should_have_is_refused(tmp_path, address):
  with pytest.raises(download.DownloadError):
    download.fetch(address, tmp_path)


@pytest.mark.parametrize('digest', ['md5=0', 'sha256=', 'sha256=xyz', 'sha1=0'])
def test_a_digest_that_is_none_is_refused_at_once(site, tmp_path, digest):
  with pytest.raises(download.DownloadError, match='is no digest'):
    download.fetch(f'{site.url}#{digest}', tmp_path)
  assert site.asked == []


@pytest.mark.parametrize(
  'headers', [{'x-goog-hash': 'md5=?'}, {'Content-Length': 'many'}]
)
def test_headers_may_say_anything(site, tmp_path, headers):
  site.headers = headers
  with contextlib.suppress(download.DownloadError):
    assert download.fetch(site.url, tmp_path).read_bytes() == DATA


def test_what_is_not_there_is_told_with_the_address(site, tmp_path):
  with pytest.raises(
    download.DownloadError, match=r'/b\.npz could not be fetched: .* 404'
  ):
    download.fetch(f'{site.root}/b.npz', tmp_path)


def test_without_a_network_it_says_where_to_put_the_file(tmp_path):
  with pytest.raises(download.DownloadError) as caught:
    download.fetch('http://127.0.0.1:9/models/a.npz', tmp_path)
  message = str(caught.value)
  assert 'http://127.0.0.1:9/models/a.npz could not be fetched' in message
  where = tmp_path / '127.0.0.1_9/models/a.npz'
  assert f'put it at {where}' in message
  where.parent.mkdir(parents=True, exist_ok=True)
  where.write_bytes(DATA)
  assert download.fetch('http://127.0.0.1:9/models/a.npz', tmp_path) == where


@pytest.mark.parametrize(
  'url', ['http://example.com/a.npz', 'http://127.0.0.1:80@example.com/a.npz']
)
def test_nothing_is_fetched_unencrypted(url, tmp_path):
  with pytest.raises(download.DownloadError, match='is not encrypted'):
    download.fetch(url, tmp_path)


def test_a_redirection_to_unencrypted_is_refused(site, tmp_path):
  site.target = 'http://example.com/a/file.npz'
  with pytest.raises(download.DownloadError, match='is not encrypted'):
    download.fetch(f'{site.root}/moved', tmp_path)
  assert not files(tmp_path)


def test_buckets_and_odd_addresses_have_their_place(tmp_path):
  assert download.path_of('gs://bucket/a+b/c.npz', tmp_path) == (
    tmp_path / 'storage.googleapis.com/bucket/a+b/c.npz'
  )
  assert download.path_of('https://x.org/../../c.npz', tmp_path) == (
    tmp_path / 'x.org/c.npz'
  )
  with pytest.raises(download.DownloadError, match='names no file'):
    download.path_of('https://x.org', tmp_path)
