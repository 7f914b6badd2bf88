"""Downloads a file once, into a cache, and resumes where it was cut short.

Requests (TLS, redirects) and tqdm (progress) do the work. Only HTTPS is
trusted, redirects included; to the own machine HTTP will do where it was typed.
Servers may be anybody's: never more is taken than was announced, a resumed file
is of one version, and a digest behind the URL is checked whenever it is asked
for, cached or not.
"""

import base64
import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.util
import os
import pathlib
import re
import time
import urllib.parse

import requests
import requests.adapters
import tqdm
import urllib3

from vit_jax import errors, files
from vit_jax.files import cache

PUBLIC = ('big_vision', 'bit_models', 'mixer_models', 'vit_models')  # Buckets.
ATTEMPTS = 5  # Each resumes where the one before was cut short.
TOLERANCE = 0.02  # Of sizes that are not known to the byte.
MAX_BYTES = 64 << 30  # Of a file; no released weights have as many.
MIN_SPEED = 1000  # Bytes per second, on average over
SPELL = 60  # as many seconds; what is slower never ends.

_TIMEOUT = 30  # Seconds without a byte.
_CHUNK = 1 << 20
_BUCKETS = 'https://storage.googleapis.com/'
_LOOPBACK = ('127.0.0.1', 'localhost', '::1')
_HEX_DIGITS = {'sha256': 64, 'md5': 32}  # Of digests that one can demand.
_MAX_NAME = 200  # Bytes of a name in the cache.
_CONTENT_RANGE = re.compile(r'bytes (\d+)-(\d*)/(\d+|\*)')


class DownloadError(errors.UserError):
  """A file could not be fetched, or is not the one that was meant."""


def is_address(text):
  """Returns whether a file is fetched from a server that anybody may ask.

  Of gs://, that is so of the buckets of released files; others are a store of
  the user, unless nothing is installed that could reach one.
  """
  if text.startswith(('https://', 'http://')):
    return True
  bucket = text.removeprefix('gs://').partition('/')[0]
  return text.startswith('gs://') and (
    bucket in PUBLIC or importlib.util.find_spec('gcsfs') is None
  )


def check_digest(address, path):
  """Raises DownloadError where a file has not the digest behind an address.

  Args:
    address: with '#sha256=...' or '#md5=...' behind it, or without.
    path: of a local file.
  """
  address, _, digest = address.partition('#')
  problem = _difference(path, _demanded(digest))
  if problem:
    raise DownloadError(f'{address} is not the file that was meant: {problem}.')


def fetch(address, cache_dir=None, num_bytes=None):
  """Returns the path of a file, which is fetched if it is not there yet.

  Args:
    address: a URL, https:// or gs://; '#sha256=...' or '#md5=...' behind it
      demands that digest, also of a file that is there already.
    cache_dir: folder that keeps what was fetched; None: that of `files.cache`.
    num_bytes: about how large it is, to `TOLERANCE`; None: unknown.

  Raises:
    DownloadError: with the URL, and where to put the file by hand.
  """
  url, _, digest = _url(address).partition('#')
  wanted = _demanded(digest)
  target = path_of(url, cache_dir)
  try:
    if target.exists():
      _check_cached(target, num_bytes, wanted)
      return target
    files.make_private(_folder(cache_dir))
    target.parent.mkdir(parents=True, exist_ok=True)
    with _session(url) as session:
      _fetch(session, url, target, num_bytes, wanted)
  except DownloadError:
    raise
  except (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
  ) as error:
    raise DownloadError(
      f'{url} could not be fetched: {_reason(error)}. Get it by other means '
      f'and put it at {target}, or give its path.'
    ) from error
  return target


def path_of(address, cache_dir=None):
  """Returns where `fetch` keeps a file.

  It is in the folder of its host. Files that differ in the query of their URL
  are in folders of their own.

  Raises:
    DownloadError: the address names no file, or none that can be kept.
  """
  try:
    parts = urllib.parse.urlsplit(_url(address))
  except ValueError as error:
    raise DownloadError(f'{address} is no URL: {error}.') from error
  names = [
    name
    for name in urllib.parse.unquote(parts.path).split('/')
    if name not in ('', '.', '..')
  ]
  if not names:
    raise DownloadError(f'{address} names no file.')
  if parts.query:
    query = hashlib.sha256(parts.query.encode()).hexdigest()[:16]
    names.insert(-1, f'query-{query}')
  host = parts.netloc.rpartition('@')[2].replace(':', '_')
  for name in (host, *names):
    # A name that is no text, as of wrong bytes, is none of a file.
    if not name.isprintable() or len(name.encode(errors='replace')) > _MAX_NAME:
      raise DownloadError(
        f'{address[:200]!r} has a name in it that no file should have; '
        f'download it by hand and give its path.'
      )
  # A host without a dot could be called as other folders of the cache are.
  host = host if '.' in host.strip('.') else f'{host.strip(".")}.host'
  return _folder(cache_dir).joinpath(host, *names)


def _folder(cache_dir):
  if cache_dir is None:
    return cache.folder()
  return pathlib.Path(cache_dir).expanduser()


def _url(address):
  if not address.startswith('gs://'):
    return address
  path, hash_mark, digest = address.removeprefix('gs://').partition('#')
  return f'{_BUCKETS}{urllib.parse.quote(path)}{hash_mark}{digest}'


def _demanded(digest):
  """Returns {algorithm: hexadecimal} of what is behind the # of an address."""
  if not digest:
    return {}
  name, _, value = digest.partition('=')
  value = value.lower()
  num_digits = _HEX_DIGITS.get(name)
  if num_digits is None or not re.fullmatch(f'[0-9a-f]{{{num_digits}}}', value):
    raise DownloadError(
      f'#{digest} is no digest; write #sha256= and 64 hexadecimal digits, or '
      '#md5= and 32.'
    )
  return {name: value}


def _check_cached(target, num_bytes, wanted):
  """Raises DownloadError where a file is not the one that was asked for."""
  problem = _difference(target, wanted)
  size = target.stat().st_size
  if num_bytes and is_far(size, num_bytes):
    problem = f'it has {size} bytes and should have about {num_bytes}'
  if problem:
    raise DownloadError(
      f'{target} is not the file that was meant: {problem}. Remove it, and it '
      'is fetched again.'
    )


def is_far(size, about):
  """Returns whether a size in bytes is not about another, to `TOLERANCE`."""
  return abs(size - about) > TOLERANCE * about


class _OnlyAsTyped(requests.adapters.HTTPAdapter):
  """HTTP without TLS: to this machine, if the user has typed so."""

  def __init__(self, typed):
    super().__init__()
    self._typed = urllib.parse.urlsplit(typed)

  def send(self, request, **options):
    asked = urllib.parse.urlsplit(request.url)
    if asked.hostname not in _LOOPBACK:
      raise DownloadError(
        f'{request.url} is not encrypted, so anybody on the way could change '
        'the file; give an https:// address.'
      )
    if asked.netloc != self._typed.netloc:
      raise DownloadError(
        f'{self._typed.geturl()} leads to {request.url}, on this machine, '
        'which was not asked for.'
      )
    return super().send(request, **options)


def _session(url):
  session = requests.Session()
  session.mount('http://', _OnlyAsTyped(url))
  # Bytes as they are stored: else neither sizes nor ranges would be right.
  session.headers['Accept-Encoding'] = 'identity'
  return session


@dataclasses.dataclass(frozen=True)
class _Version:
  """What a server says of a file: which one it is, and how large.

  Attributes:
    validator: by which it is asked for the rest of the same version; '': none.
    size: in bytes; None: it does not say.
    digests: {algorithm: hexadecimal}.
  """

  validator: str
  size: int | None
  digests: dict

  @property
  def name(self):
    text = f'{self.validator}{self.size}'
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _version(headers):
  size = headers.get('Content-Length', '')
  etag = headers.get('ETag', '')
  if etag.startswith('W/'):  # Of versions that are alike, not the same.
    etag = ''
  return _Version(
    etag or headers.get('Last-Modified', ''),
    int(size) if re.fullmatch(r'\d{1,18}', size) else None,
    _told(headers),
  )


def _told(headers):
  """Returns {algorithm: hexadecimal} as Google's storage says it."""
  for item in headers.get('x-goog-hash', '').split(','):
    name, _, value = item.strip().partition('=')
    if name == 'md5':
      with contextlib.suppress(ValueError):
        return {'md5': base64.b64decode(value, validate=True).hex()}
  return {}


def _fetch(session, url, target, num_bytes, wanted):
  about = session.head(url, allow_redirects=True, timeout=_TIMEOUT)
  about.raise_for_status()
  version = _version(about.headers)
  limit = _limit(url, version.size, num_bytes)
  # Parts of another version of the file are not gone on with.
  part = target.with_name(f'{target.name}.{version.name}.part')
  with files.opened_in_place(part, 'ab') as file:
    fcntl.flock(file, fcntl.LOCK_EX)  # Another process may fetch it, too.
    if not target.exists():
      _continue(session, url, file, version, limit)
      _check(url, part, version.size, {**version.digests, **wanted})
      files.put(part, target)
  with contextlib.suppress(FileNotFoundError):
    if target.exists():
      part.unlink()


def _limit(url, size, num_bytes):
  """Returns how many bytes may come at most."""
  if num_bytes and size is not None and is_far(size, num_bytes):
    raise DownloadError(
      f'{url} has {size} bytes and should have about {num_bytes}; it is not '
      'the file that was released.'
    )
  limit = size
  if limit is None:
    limit = int(num_bytes * (1 + TOLERANCE)) if num_bytes else MAX_BYTES
  if limit > MAX_BYTES:
    raise DownloadError(
      f'{url} has {size} bytes; no more than {MAX_BYTES} are fetched.'
    )
  return limit


def _continue(session, url, file, version, limit):
  """Appends what is missing, in a few attempts."""
  for attempt in range(1, ATTEMPTS + 1):
    have = file.seek(0, os.SEEK_END)
    if have == version.size:
      return
    if not version.validator or have > limit:
      have = file.truncate(0)  # Of which version it is, is not known.
    try:
      _append(session, url, file, have, version, limit)
      return
    except (requests.RequestException, urllib3.exceptions.HTTPError):
      if attempt == ATTEMPTS or file.seek(0, os.SEEK_END) == have:
        raise


def _append(session, url, file, have, version, limit):
  headers = {}
  if have:
    headers = {'Range': f'bytes={have}-', 'If-Range': version.validator}
  with session.get(
    url, headers=headers, stream=True, timeout=_TIMEOUT
  ) as response:
    response.raise_for_status()
    try:
      _check_answer(url, response, have, version)
    except DownloadError:
      file.truncate(0)  # Else the same would be asked for again.
      raise
    if have and response.status_code != requests.codes.partial_content:
      have = file.truncate(0)  # The server sends all of it again.
    with tqdm.tqdm(
      desc=errors.shown(urllib.parse.unquote(url.rpartition('/')[2]))[:80],
      total=version.size,
      initial=have,
      unit='B',
      unit_scale=True,
      disable=None,  # Where nobody watches.
    ) as progress:
      for chunk in _chunks(url, response.raw):
        have += len(chunk)
        if have > limit:
          file.truncate(0)
          raise DownloadError(
            f'{url} sends more than the {limit} bytes that were announced. '
            'Nothing of it was kept.'
          )
        file.write(chunk)
        progress.update(len(chunk))
    file.flush()


def _check_answer(url, response, have, version):
  """Raises DownloadError where it is not what was asked for."""
  encoding = response.headers.get('Content-Encoding', 'identity')
  if encoding != 'identity':
    raise DownloadError(
      f'{url} is sent as {encoding}, and not as it is stored, as it was asked '
      'for.'
    )
  if response.status_code == requests.codes.partial_content:
    told = response.headers.get('Content-Range', '')
    match = _CONTENT_RANGE.fullmatch(told)
    sizes = (str(version.size), '*') if version.size is not None else None
    if (
      match is None
      or int(match[1]) != have
      or (sizes and match[3] not in sizes)
    ):
      raise DownloadError(
        f'{url} was asked for what follows byte {have} of '
        f'{version.size}, and answers with {told!r}.'
      )


def _chunks(url, raw):
  """Yields bytes as they come, undecoded; ends what is too slow to end."""
  began, num_bytes = time.monotonic(), 0
  while chunk := raw.read1(_CHUNK, decode_content=False):
    yield chunk
    num_bytes += len(chunk)
    seconds = time.monotonic() - began
    if seconds >= SPELL:
      if num_bytes < MIN_SPEED * seconds:
        raise DownloadError(
          f'{url} sends {num_bytes / seconds:.0f} bytes per second, which '
          'never ends. Try later; what came is kept.'
        )
      began, num_bytes = time.monotonic(), 0


def _check(url, part, size, wanted):
  """Removes the file and raises if it is not the one that was announced."""
  problem = _difference(part, wanted)
  if size is not None and part.stat().st_size != size:
    problem = f'{part.stat().st_size} bytes came, not {size}'
  if problem:
    part.unlink()
    raise DownloadError(f'{url}: {problem}. Nothing of it was kept.')


def _difference(path, wanted):
  """Returns how a file differs from {algorithm: hexadecimal}, or None."""
  for name, digest in wanted.items():
    with files.open_regular(path) as file:
      given = hashlib.file_digest(file, name).hexdigest()
    if given != digest:
      return f'its {name} is {given} and should be {digest}'
  return None


def _reason(error):
  """Returns a line; Requests' own would quote three layers of libraries."""
  response = getattr(error, 'response', None)
  if response is not None:
    return f'the server says {response.status_code} {response.reason}'
  if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
    return 'the server does not answer'
  if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError):
    return 'there is no connection to the server'
  return str(error)
