"""An imitation of the Hugging Face Hub on this machine, for huggingface_hub.

It answers as the Hub does what the library asks to fetch a repository and to
push one: .safetensors and .bin lie elsewhere, behind a redirect to a second
server that wants no token, as the Hub's CDN.

    with hub_server.Hub() as hub:
      hub.add('owner/name', {'config.json': b'{}'}, private=True)
      hub_server.use(hub, monkeypatch, cache_dir)  # Or hub.environment(...).
"""

import base64
import contextlib
import dataclasses
import fnmatch
import hashlib
import http.server
import json
import os
import re
import threading
import urllib.parse

TOKEN = 'hf_of_the_tests'  # Of the user `OWNER`, who may write to all.
OWNER = 'somebody'
LARGE = ('*.safetensors', '*.bin')  # Git LFS keeps them.


@dataclasses.dataclass
class Repository:
  """A repository: its commits, and what they are called.

  Attributes:
    private: whether it takes a token to see it.
    commits: {hash: {path: bytes}}.
    branches, tags: {name: hash}.
  """

  private: bool
  commits: dict = dataclasses.field(default_factory=dict)
  branches: dict = dataclasses.field(default_factory=dict)
  tags: dict = dataclasses.field(default_factory=dict)

  def commit(self, files, branch='main'):
    """Adds a commit of these files alone to a branch; returns its hash."""
    text = f'{len(self.commits)} {sorted(files.items())}'
    digest = hashlib.sha1(text.encode()).hexdigest()
    self.commits[digest] = dict(files)
    self.branches[branch] = digest
    return digest

  def find(self, revision):
    """Returns (hash, files) of a revision, or None."""
    names = {**self.branches, **self.tags}
    digest = names.get(revision, revision)
    files = self.commits.get(digest)
    return None if files is None else (digest, files)


class Hub:
  """A context: the two servers and what they hold.

  Attributes:
    repositories: {'owner/name': Repository}.
    log: (method, path, {name in lower case: value}) of all requests, in order.
    cut: {path in a repository: bytes after which an answer ends, once}.
    failing: {pattern of a request, as 'POST /api/*/commit/*': status} of what
      fails from now on.
  """

  def __init__(self):
    self.repositories, self.blobs = {}, {}
    self.log, self.cut, self.failing = [], {}, {}
    self.commits = []  # Of each push: {path: 'add' or 'delete'}.

  def __enter__(self):
    self._servers = [
      http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
      for handler in (_handler(_Api, self), _handler(_Cdn, self))
    ]
    for server in self._servers:
      server.daemon_threads = True
      threading.Thread(
        target=server.serve_forever, args=(0.02,), daemon=True
      ).start()
    self.url, self.cdn = (
      f'http://127.0.0.1:{server.server_port}' for server in self._servers
    )
    return self

  def __exit__(self, *_):
    for server in self._servers:
      server.shutdown()
      server.server_close()

  def add(self, name, files, private=False):
    """Adds a commit to a repository, made if need be; returns its hash."""
    repository = self.repositories.setdefault(name, Repository(private))
    return repository.commit(files)

  def add_folder(self, name, folder, private=False):
    """As `add`, of the files in a folder."""
    files = {
      path.relative_to(folder).as_posix(): path.read_bytes()
      for path in folder.rglob('*')
      if path.is_file()
    }
    return self.add(name, files, private)

  def files(self, name):
    """Returns {path: bytes} of the main branch of a repository."""
    return self.repositories[name].find('main')[1]

  def fetched(self):
    """Returns the names of the files whose contents were asked for."""
    return {
      path.rpartition('/')[2]
      for method, path, _ in self.log
      if method == 'GET' and re.search('/resolve/|/cdn/', path)
    }

  def environment(self, cache_dir, token=TOKEN):
    """Returns the variables by which another process uses this Hub.

    Args:
      cache_dir: folder of the library's cache.
      token: of the user; None: nobody is logged in.
    """
    return {
      'HF_ENDPOINT': self.url,
      'HF_HOME': str(cache_dir),
      'HF_HUB_DISABLE_XET': '1',  # A protocol of its own for large files.
      'HF_HUB_DISABLE_TELEMETRY': '1',
      'HF_HUB_DISABLE_UPDATE_CHECK': '1',
      **({'HF_TOKEN': token} if token else {}),
    }


def use(hub, monkeypatch, cache_dir, token=TOKEN):
  """Has this process, too, use a `Hub`: the library reads variables but once.

  Args:
    hub: a `Hub`.
    monkeypatch: of pytest.
    cache_dir, token: see `Hub.environment`.
  """
  from huggingface_hub import constants

  for name in 'HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN':
    monkeypatch.delenv(name, raising=False)
  for name, value in hub.environment(cache_dir, token).items():
    monkeypatch.setenv(name, value)
  for name, value in {
    'ENDPOINT': hub.url,
    'HUGGINGFACE_CO_URL_TEMPLATE': (
      hub.url + '/{repo_id}/resolve/{revision}/{filename}'
    ),
    'HF_HOME': str(cache_dir),
    'HF_HUB_CACHE': os.path.join(cache_dir, 'hub'),
    'HF_TOKEN_PATH': os.path.join(cache_dir, 'token'),
    'HF_HUB_DISABLE_XET': True,
    'HF_HUB_OFFLINE': False,
  }.items():
    monkeypatch.setattr(constants, name, value)


def _handler(kind, hub):
  return type(kind.__name__, (kind,), {'hub': hub})


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'

  def log_message(self, *_):
    pass

  def answer(self):
    length = int(self.headers.get('Content-Length') or 0)
    self.body = self.rfile.read(length) if length else b''
    if self.headers.get('Transfer-Encoding') == 'chunked':
      self.body = self._read_chunks()
    parts = urllib.parse.urlsplit(self.path)
    headers = {key.lower(): value for key, value in self.headers.items()}
    self.hub.log.append((self.command, parts.path, headers))
    for pattern, status in self.hub.failing.items():
      if fnmatch.fnmatch(f'{self.command} {parts.path}', pattern):
        self.reply({'error': 'It fails.'}, status)
        return
    for pattern, method in self.routes.items():
      match = re.fullmatch(pattern, f'{self.command} {parts.path}')
      if match:
        names = {
          name: urllib.parse.unquote(value)
          for name, value in match.groupdict('').items()
        }
        getattr(self, method)(**names)
        return
    self.fail(404, 'EntryNotFound')

  do_GET = do_HEAD = do_POST = do_PUT = answer

  def _read_chunks(self):
    data = b''
    while size := int(self.rfile.readline(), 16):
      data += self.rfile.read(size)
      self.rfile.readline()
    self.rfile.readline()
    return data

  def reply(self, content, status=200, headers=None):
    self.send(json.dumps(content).encode(), status, headers)

  def fail(self, status, code, headers=None):
    self.reply(
      {'error': code}, status, {'X-Error-Code': code, **(headers or {})}
    )

  def send(self, data, status=200, headers=None, name=''):
    """Sends an answer, or the range of it that is asked for."""
    begins = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
    headers, whole = dict(headers or {}), len(data)
    if begins and status == 200:
      start = int(begins[1])
      data, status = data[start:], 206
      headers['Content-Range'] = f'bytes {start}-{whole - 1}/{whole}'
    self.send_response(status)
    for key, value in {**headers, 'Content-Length': len(data)}.items():
      self.send_header(key, str(value))
    self.end_headers()
    if self.command == 'HEAD':
      return
    cut = self.hub.cut.pop(name, None)
    with contextlib.suppress(ConnectionError):
      self.wfile.write(data if cut is None else data[:cut])
    if cut is not None:
      self.close_connection = True


class _Cdn(_Handler):
  routes = {
    r'(GET|HEAD) /cdn/(?P<oid>\w+)/(?P<name>.+)': 'get',
    r'PUT /upload/(?P<oid>\w+)': 'put',
  }

  def get(self, oid, name):
    self.send(self.hub.blobs[oid], headers={'ETag': f'"{oid}"'}, name=name)

  def put(self, oid):
    assert hashlib.sha256(self.body).hexdigest() == oid
    self.hub.blobs[oid] = self.body
    self.send(b'')


class _Api(_Handler):
  routes = {
    r'GET /api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<rev>.+))?': 'info',
    r'GET /api/models/(?P<repo>[^/]+/[^/]+)/refs': 'refs',
    r'GET /api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<rev>[^/]+)': 'tree',
    r'(GET|HEAD) /(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)': (
      'resolve'
    ),
    r'GET /api/whoami-v2': 'whoami',
    r'POST /api/repos/create': 'create',
    r'POST /api/validate-yaml': 'validate',
    r'POST /api/models/(?P<repo>[^/]+/[^/]+)/preupload/.+': 'preupload',
    r'POST /(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch': 'batch',
    r'POST /api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<rev>.+)': 'commit',
  }

  def knows_user(self):
    return self.headers.get('Authorization') == f'Bearer {TOKEN}'

  def find(self, name, revision=''):
    """Returns (repository, hash, files); None once it has refused."""
    repository = self.hub.repositories.get(name)
    if repository is None or (repository.private and not self.knows_user()):
      # As the Hub: nobody learns whether there is a private one.
      self.fail(404 if self.knows_user() else 401, 'RepoNotFound')
      return None
    found = repository.find(revision or 'main')
    if found is None and revision:
      self.fail(404, 'RevisionNotFound')
      return None
    return repository, *(found or ('', {}))

  def info(self, repo, rev):
    if found := self.find(repo, rev):
      repository, digest, files = found
      self.reply(
        {
          'id': repo,
          'sha': digest,
          'private': repository.private,
          'siblings': [
            {'rfilename': path, 'size': len(data), 'blobId': _oid(data)}
            for path, data in files.items()
          ],
        }
      )

  def refs(self, repo):
    if found := self.find(repo):
      kinds = {'branches': found[0].branches, 'tags': found[0].tags}
      said = {
        kind: [
          {'name': name, 'ref': f'refs/{name}', 'targetCommit': digest}
          for name, digest in names.items()
        ]
        for kind, names in kinds.items()
      }
      self.reply({**said, 'converts': []})

  def tree(self, repo, rev):
    if found := self.find(repo, rev):
      self.reply(
        [
          {'type': 'file', 'path': path, 'size': len(data), 'oid': _oid(data)}
          for path, data in found[2].items()
        ]
      )

  def resolve(self, repo, rev, path):
    if not (found := self.find(repo, rev)):
      return
    _, digest, files = found
    headers = {'X-Repo-Commit': digest}
    if path not in files:
      self.fail(404, 'EntryNotFound', headers)
      return
    data = files[path]
    if not _is_large(path):
      self.send(data, headers={**headers, 'ETag': f'"{_oid(data)}"'}, name=path)
      return
    oid = hashlib.sha256(data).hexdigest()
    self.hub.blobs[oid] = data
    headers |= {
      'X-Linked-Etag': f'"{oid}"',
      'X-Linked-Size': len(data),
      'Location': f'{self.hub.cdn}/cdn/{oid}/{path}',
    }
    self.send(b'', 302, headers)

  def whoami(self):
    if not self.knows_user():
      self.reply({'error': 'Invalid credentials'}, 401)
      return
    self.reply({'name': OWNER, 'type': 'user', 'auth': {}})

  def create(self):
    said = json.loads(self.body)
    name = f'{said.get("organization") or OWNER}/{said["name"]}'
    if not self.knows_user() or not name.startswith(f'{OWNER}/'):
      self.reply({'error': 'You may not create it.'}, 403)
    elif name in self.hub.repositories:
      said = {'error': 'It is there already.', 'url': f'{self.hub.url}/{name}'}
      self.reply(said, 409)
    else:
      private = said.get('visibility') == 'private' or said.get('private')
      self.hub.add(name, {'.gitattributes': b''}, bool(private))
      self.reply({'url': f'{self.hub.url}/{name}', 'name': name})

  def validate(self):
    self.reply({'errors': [], 'warnings': []})

  def preupload(self, repo):
    if not self.find(repo):
      return
    said = json.loads(self.body)['files']
    self.reply(
      {
        'files': [
          {
            'path': each['path'],
            'uploadMode': 'lfs' if _is_large(each['path']) else 'regular',
            'shouldIgnore': False,
          }
          for each in said
        ]
      }
    )

  def batch(self, repo):
    objects = [
      {
        **each,
        'actions': {
          'upload': {'href': f'{self.hub.cdn}/upload/{each["oid"]}'},
        },
      }
      for each in json.loads(self.body)['objects']
    ]
    self.reply({'transfer': 'basic', 'objects': objects})

  def commit(self, repo, rev):
    if not (found := self.find(repo)):
      return
    if not self.knows_user():
      self.reply({'error': 'You may not write to it.'}, 403)
      return
    repository, _, files = found
    files, done = dict(files), {}
    for line in map(json.loads, self.body.splitlines()):
      kind, value = line['key'], line['value']
      if kind == 'file':
        files[value['path']] = base64.b64decode(value['content'])
      elif kind == 'lfsFile':
        files[value['path']] = self.hub.blobs[value['oid']]
      elif kind == 'deletedFile':
        del files[value['path']]
      if 'path' in value:
        done[value['path']] = 'delete' if kind == 'deletedFile' else 'add'
    self.hub.commits.append(done)
    digest = repository.commit(files, rev)
    self.reply(
      {
        'success': True,
        'commitOid': digest,
        'commitUrl': f'{self.hub.url}/{repo}/commit/{digest}',
      }
    )


def _oid(data):
  return hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()


def _is_large(path):
  return any(fnmatch.fnmatch(path, pattern) for pattern in LARGE)
