"""Downloads a file once, into a cache, and resumes where it was cut short.

Requests (TLS, redirects) and tqdm (progress) do the work. Only HTTPS is
trusted, redirects included; to the own machine HTTP will do.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
import pathlib
import urllib.parse

import requests
import requests.adapters
import tqdm

from vit_jax import errors, files

CACHE = '~/.cache/vit_jax'
ATTEMPTS = 5  # Each resumes where the one before was cut short.
TOLERANCE = 0.02  # Of sizes that are not known to the byte.

_TIMEOUT = 30  # Seconds without a byte.
_CHUNK = 1 << 20
_BUCKETS = 'https://storage.googleapis.com/'
_LOOPBACK = ('127.0.0.1', 'localhost', '::1')


class DownloadError(errors.UserError):
  """A file could not be fetched, or is not the one that was meant."""


def is_address(text):
  return text.startswith(('https://', 'http://', 'gs://'))


def fetch(address, cache_dir=CACHE, num_bytes=None):
  """Returns the path of a file, which is fetched if it is not there yet.

  Args:
    address: a URL, https:// or gs://; '#sha256=...' behind it demands that
      digest.
    cache_dir: folder that keeps what was fetched.
    num_bytes: about how large it is, to `TOLERANCE`; None: unknown.

  Raises:
    DownloadError: with the URL, and where to put the file by hand.
  """
  url, _, digest = _url(address).partition('#')
  target = path_of(url, cache_dir)
  if target.exists():
    return target
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _session() as session:
      _fetch(session, url, target, num_bytes, digest)
  except (requests.RequestException, OSError) as error:
    raise DownloadError(
      f'{url} could not be fetched: {_reason(error)}. Get it by other means '
      f'and put it at {target}, or give its path.'
    ) from error
  return target


def path_of(address, cache_dir=CACHE):
  """Returns where `fetch` keeps a file."""
  parts = urllib.parse.urlsplit(_url(address))
  names = [
    name
    for name in urllib.parse.unquote(parts.path).split('/')
    if name not in ('', '.', '..')
  ]
  if not names:
    raise DownloadError(f'{address} names no file.')
  host = parts.netloc.rpartition('@')[2].replace(':', '_')
  return pathlib.Path(cache_dir).expanduser().joinpath(host, *names)


def _url(address):
  if not address.startswith('gs://'):
    return address
  path, hash_mark, digest = address.removeprefix('gs://').partition('#')
  return f'{_BUCKETS}{urllib.parse.quote(path)}{hash_mark}{digest}'


class _OnlyAtHome(requests.adapters.HTTPAdapter):
  """HTTP without TLS, to this machine and no other."""

  def send(self, request, **options):
    if urllib.parse.urlsplit(request.url).hostname not in _LOOPBACK:
      raise DownloadError(
        f'{request.url} is not encrypted, so anybody on the way could change '
        'the file; give an https:// address.'
      )
    return super().send(request, **options)


def _session():
  session = requests.Session()
  session.mount('http://', _OnlyAtHome())
  # Bytes as they are stored: else neither sizes nor ranges would be right.
  session.headers['Accept-Encoding'] = 'identity'
  return session


def _fetch(session, url, target, num_bytes, digest):
  about = session.head(url, allow_redirects=True, timeout=_TIMEOUT)
  about.raise_for_status()
  size = int(about.headers.get('Content-Length', -1))
  if num_bytes and size >= 0 and abs(size - num_bytes) > TOLERANCE * num_bytes:
    raise DownloadError(
      f'{url} has {size} bytes and should have about {num_bytes}; it is not '
      'the file that was released.'
    )
  # Parts of another version of the file are not gone on with.
  version = about.headers.get('ETag', '') + str(size)
  name = hashlib.sha256(version.encode()).hexdigest()[:8]
  part = target.with_name(f'{target.name}.{name}.part')
  with open(part, 'ab') as file:
    fcntl.flock(file, fcntl.LOCK_EX)  # Another process may fetch it, too.
    if not target.exists():
      _continue(session, url, file, size)
      _check(url, part, size, digest, about.headers)
      files.put(part, target)
  with contextlib.suppress(FileNotFoundError):
    if target.exists():
      part.unlink()


def _continue(session, url, file, size):
  """Appends what is missing, in a few attempts."""
  for attempt in range(1, ATTEMPTS + 1):
    have = file.seek(0, os.SEEK_END)
    if have == size:
      return
    try:
      _append(session, url, file, have, size)
      return
    except requests.RequestException:
      if attempt == ATTEMPTS or file.tell() == have:
        raise


def _append(session, url, file, have, size):
  headers = {'Range': f'bytes={have}-'} if have else {}
  with session.get(
    url, headers=headers, stream=True, timeout=_TIMEOUT
  ) as response:
    response.raise_for_status()
    if have and response.status_code != requests.codes.partial_content:
      file.truncate(0)  # The server sends all of it again.
      have = 0
    with tqdm.tqdm(
      desc=urllib.parse.unquote(url.rpartition('/')[2]),
      total=size if size >= 0 else None,
      initial=have,
      unit='B',
      unit_scale=True,
      disable=None,  # Where nobody watches.
    ) as progress:
      for chunk in response.iter_content(_CHUNK):
        file.write(chunk)
        progress.update(len(chunk))
    file.flush()


def _check(url, part, size, digest, headers):
  """Removes the file and raises if it is not the one that was announced."""
  problem = None
  if size >= 0 and part.stat().st_size != size:
    problem = f'{part.stat().st_size} bytes came, not {size}'
  for name, wanted in _digests(digest, headers).items():
    with open(part, 'rb') as file:
      given = hashlib.file_digest(file, name).hexdigest()
    if given != wanted:
      problem = f'its {name} is {given} and should be {wanted}'
  if problem:
    part.unlink()
    raise DownloadError(f'{url}: {problem}. Nothing of it was kept.')


def _digests(demanded, headers):
  """Returns {algorithm: hexadecimal}, as demanded and as the server says."""
  digests = {}
  # Google's storage: crc32c=..., md5=... in base64.
  for item in headers.get('x-goog-hash', '').split(','):
    name, _, value = item.strip().partition('=')
    if name == 'md5':
      digests['md5'] = base64.b64decode(value).hex()
  if demanded:
    name, _, value = demanded.partition('=')
    if name != 'sha256':
      raise DownloadError(f'#{demanded} is no digest; write #sha256=...')
    digests['sha256'] = value.lower()
  return digests


def _reason(error):
  """Returns a line; Requests' own would quote three layers of libraries."""
  response = getattr(error, 'response', None)
  if response is not None:
    return f'the server says {response.status_code} {response.reason}'
  if isinstance(error, requests.Timeout):
    return 'the server does not answer'
  if isinstance(error, requests.ConnectionError):
    return 'there is no connection to the server'
  return str(error)
