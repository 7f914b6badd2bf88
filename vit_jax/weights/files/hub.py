"""Weights on the Hugging Face Hub: hf://OWNER/NAME@REVISION/FOLDER.

huggingface_hub fetches them into its own cache; its environment variables
(HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, ...) count. It is imported once
the Hub is meant. Of a repository come the JSON files that are read here and
.safetensors, each no larger than was announced, and never a pickle.
"""

import contextlib
import errno
import pathlib
import re
import shutil
import sys
import urllib.parse
from typing import Any, NamedTuple

import vit_jax
from vit_jax import errors
from vit_jax.weights.files import download, sharded

SCHEME = 'hf://'
MAIN = 'main'  # The branch that is meant where none is named.
CONFIG = 'config.json'
WEIGHTS = 'model.safetensors'
OPTIONAL = ('preprocessor_config.json', 'processor_config.json')
MAX_TOLD = 8 << 20  # Bytes of a JSON file.

_ADDRESS = re.compile(
  r'hf://(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)'
  r'(?:@(?P<revision>refs/pr/\d+|refs/convert/[\w.-]+|[^/@]+))?'
  r'(?:/(?P<folder>[\w./-]*))?',
  re.ASCII,
)
_KINDS = ('models', 'datasets', 'spaces', 'kernels', 'buckets')  # No owners.
_TIMM = 'timm'  # The owner of repositories that are called as timm's models.
_TIMM_NAME = re.compile(r'[a-z][a-z0-9]*(?:_[a-z0-9]+)+\.[a-z0-9_]+')
# What follows the dot in names of files, and in none of timm's.
_SUFFIXES = (
  *('bin', 'ckpt', 'csv', 'gz', 'h5', 'json', 'msgpack', 'npy', 'npz', 'onnx'),
  *('pb', 'pickle', 'pkl', 'pt', 'pth', 'py', 'safetensors', 'tar', 'txt'),
  *('yaml', 'zip'),
)
_PICKLES = ('.bin', '.pt', '.pth', '.ckpt', '.pkl', '.pickle')
# Of a name that may stand in a command for the user's shell.
_PICKLE = re.compile(
  rf'[\w./-]+(?:{"|".join(map(re.escape, _PICKLES))})', re.ASCII
)
_TO_SAFETENSORS = (
  'import torch, safetensors.torch as s; '
  "w = torch.load('{file}', weights_only=True); "
  's.save_file({{k: v.clone() for k, v in w.items()}}, '
  "'{folder}model.safetensors', {{'format': 'pt'}})"
)
_OVERLOADED = (408, 429)  # Statuses that pass, beside those from 500 on.


class HubError(errors.UserError):
  """The Hub does not give, or take, what was meant."""


class Address(NamedTuple):
  """A folder of a repository at a revision.

  Attributes:
    repo: 'OWNER/NAME'.
    revision: a branch, a tag or a commit.
    folder: in the repository; '': all of it.
  """

  repo: str
  revision: str = MAIN
  folder: str = ''

  def __str__(self):
    revision = '' if self.revision == MAIN else f'@{self.revision}'
    return f'{SCHEME}{self.repo}{revision}{self.folder and "/"}{self.folder}'

  def path(self, name):
    """Returns the path of a file of the folder in the repository."""
    return f'{self.folder}/{name}' if self.folder else name


class Fetched(NamedTuple):
  """What was fetched: a folder of the cache, and what it is a copy of."""

  folder: pathlib.Path
  repo: str
  commit: str


def is_address(text):
  """Returns whether a repository of the Hub is named."""
  return text.startswith(SCHEME)


def of_timm(text):
  """Returns the address of a name as timm's, of the form ARCHITECTURE.TAG.

  None: it is not of that form, or rather the name of a file.
  """
  if not _TIMM_NAME.fullmatch(text) or text.endswith(
    tuple(f'.{suffix}' for suffix in _SUFFIXES)
  ):
    return None
  return f'{SCHEME}{_TIMM}/{text}'


def parse(text):
  """Returns the `Address` that a text is.

  Raises:
    HubError: it is none of a repository of models, or of a folder in it.
  """
  match = _ADDRESS.fullmatch(text)
  if match is None or match['owner'] in _KINDS:
    raise HubError(
      f'{text} names no repository of models; write {SCHEME}OWNER/NAME, with '
      '@REVISION (a branch, tag or commit) behind it if need be, and /FOLDER.'
    )
  folder = (match['folder'] or '').strip('/')
  parts = folder.split('/') if folder else []
  if any(part in ('', '.', '..') for part in parts):
    raise HubError(f'{text}: {folder} is no folder of a repository.')
  if parts and parts[-1].endswith(('.safetensors', '.json', *_PICKLES)):
    raise HubError(
      f'{text} names a file; name the repository, or the folder in it that '
      f'holds {CONFIG} and {WEIGHTS}.'
    )
  revision = urllib.parse.unquote(match['revision'] or MAIN)
  return Address(f'{match["owner"]}/{match["name"]}', revision, folder)


def library():
  """Returns huggingface_hub.

  Raises:
    HubError: it is not installed.
  """
  try:
    import huggingface_hub.constants
    import huggingface_hub.errors
  except ImportError as error:
    raise HubError(
      f'{SCHEME} needs huggingface_hub: pip install "vit_jax[hub]".'
    ) from error
  return huggingface_hub


def client():
  """Returns what asks the Hub, in the name of this project."""
  return library().HfApi(
    library_name='vit_jax', library_version=vit_jax.__version__
  )


def fetch(text):
  """Returns the `Fetched` folder of an address.

  It holds config.json, the files of `OPTIONAL` that there are, and either
  model.safetensors or the index of several files and all of these. What is in
  the cache is not fetched again; without a connection, that has to do.

  Args:
    text: see `parse`.

  Raises:
    HubError: it can't be had; the message says why, and what to do.
  """
  address = parse(text)
  api = client()
  with reported(address):
    snapshot = _snapshot(api, address)
    config = snapshot.get(CONFIG)
    if config is None:
      raise HubError(
        f'{address} holds no {CONFIG}, as repositories of timm and '
        f'transformers do; it holds {snapshot.listing()}.'
      )
    snapshot.remember()
    for name in OPTIONAL:
      snapshot.get(name)
    _get_weights(snapshot)
  return Fetched(config.parent, address.repo, snapshot.commit)


# Files ------------------------------------------------------------------------


class _Snapshot(NamedTuple):
  """The files of a folder at one commit.

  Attributes:
    api: a `client`.
    address: the `Address`.
    commit: 40 hexadecimal digits.
    sizes: {path in the repository: bytes}; None: the Hub can't be asked.
  """

  api: Any
  address: Address
  commit: str
  sizes: dict[str, int] | None

  def get(self, name, most=MAX_TOLD):
    """Returns the path of a file in the cache; None: there is no such file.

    Raises:
      HubError: it has more than `most` bytes, or can't be had.
    """
    repo, path = self.address.repo, self.address.path(name)
    cached = library().try_to_load_from_cache(repo, path, revision=self.commit)
    if isinstance(cached, str):
      return pathlib.Path(cached)
    if cached is not None:
      return None  # It is known that there is none.
    if self.sizes is None:
      raise HubError(
        f'{self.address} is in the cache without {name}, which the Hub has to '
        'be asked for; fetch it once where there is a connection.'
      )
    if path in self.sizes:
      self._check(path, most)
    try:
      found = self.api.hf_hub_download(repo, path, revision=self.commit)
    except library().errors.EntryNotFoundError:
      return None  # Asked all the same: now, the cache knows.
    return pathlib.Path(found)

  def remember(self):
    """Has the cache remember what commit a branch or tag is, for offline."""
    if self.sizes is not None and self.address.revision != self.commit:
      path = self.address.path(CONFIG)
      self.api.hf_hub_download(
        self.address.repo, path, revision=self.address.revision
      )

  def _check(self, path, most):
    size = self.sizes[path] or 0
    if size > most:
      raise HubError(
        f'{self.address}: {path} has {size} bytes; no more than {most} are '
        'fetched.'
      )
    cache = pathlib.Path(library().constants.HF_HUB_CACHE)
    there = next(each for each in (cache, *cache.parents) if each.exists())
    free = shutil.disk_usage(there).free
    if size > free:
      raise HubError(f'{self.address}: {_no_room(size)}')

  def listing(self):
    """Returns the first names of what the folder holds, as a text."""
    prefix = self.address.path('')
    names = sorted(name for name in self.sizes or () if name.startswith(prefix))
    shown = ', '.join(names[:8]) or 'nothing'
    return f'{shown} and others' if len(names) > 8 else shown


def _snapshot(api, address):
  """Returns the `_Snapshot` as it is now or, without a connection, was."""
  lost = library().errors
  try:
    info = api.model_info(
      address.repo, revision=address.revision, files_metadata=True
    )
  except (lost.RepositoryNotFoundError, lost.RevisionNotFoundError):
    raise
  except Exception as error:
    commit = _cached_commit(address)
    if commit is None or not _may_pass(error):
      raise
    if not library().constants.HF_HUB_OFFLINE:
      line = f'{address}: {reason(error)}; commit {commit} of the cache is used'
      print(errors.shown(line), file=sys.stderr)
    return _Snapshot(api, address, commit, None)
  sizes = {each.rfilename: each.size for each in info.siblings or ()}
  return _Snapshot(api, address, info.sha, sizes)


def _cached_commit(address):
  """Returns the commit that the cache has of a revision, or None."""
  path = library().try_to_load_from_cache(
    address.repo, address.path(CONFIG), revision=address.revision
  )
  if not isinstance(path, str):
    return None
  depth = len(pathlib.PurePosixPath(address.path(CONFIG)).parts)
  return pathlib.Path(path).parents[depth - 1].name


def _may_pass(error):
  """Returns whether it is the connection or the server that fails."""
  status = _status(error)
  return status is None or status >= 500 or status in _OVERLOADED


def _get_weights(snapshot):
  if snapshot.sizes is not None and not any(
    snapshot.address.path(name) in snapshot.sizes
    for name in (WEIGHTS, sharded.INDEX)
  ):
    raise HubError(_no_safetensors(snapshot))
  if snapshot.get(WEIGHTS, download.MAX_BYTES) is not None:
    return
  index = snapshot.get(sharded.INDEX)
  for shard in sorted(set(sharded.read_index(index).values())):
    if snapshot.get(shard, download.MAX_BYTES) is None:
      raise HubError(
        f'{snapshot.address} has no {shard}, of which {sharded.INDEX} says '
        'that it holds a part of the weights.'
      )


def _no_safetensors(snapshot):
  """Returns why weights are not read, and how their reader can convert them."""
  address = snapshot.address
  prefix = address.path('')
  pickles = [
    name
    for name in sorted(snapshot.sizes)
    if name.startswith(prefix) and _PICKLE.fullmatch(name)
  ]
  if not pickles:
    return (
      f'{address} has no {WEIGHTS} and no {sharded.INDEX}; it holds '
      f'{snapshot.listing()}.'
    )
  name = address.repo.rpartition('/')[2]
  return (
    f'{address} has no {WEIGHTS}, only {pickles[0]}, which is a pickle: it may '
    'run any code, and never a pickle is fetched or read here. Where PyTorch '
    'is installed, this writes the weights as .safetensors, and --checkpoint='
    f'{name}{prefix and "/"}{prefix.rstrip("/")} reads them: hf download '
    f'{address.repo} --revision={address.revision} --local-dir={name} && '
    f'cd {name} && python -c '
    f'"{_TO_SAFETENSORS.format(file=pickles[0], folder=prefix)}"'
  )


# Errors -----------------------------------------------------------------------


@contextlib.contextmanager
def reported(address):
  """Turns what huggingface_hub raises into a `HubError` of one line."""
  try:
    yield
  except errors.UserError:
    raise
  except Exception as error:
    found = library().errors
    if isinstance(error, found.RevisionNotFoundError):
      raise HubError(_no_revision(address)) from error
    raise HubError(f'{address}: {reason(error)}.') from error


def reason(error):
  """Returns why the Hub was of no use, as a part of a sentence."""
  hub = library()
  endpoint = hub.constants.ENDPOINT
  told = hub.errors
  status = _status(error)
  if isinstance(error, told.GatedRepoError):
    return (
      f'it is gated; accept its conditions on its page at {endpoint}, and log '
      'in by `hf auth login` or HF_TOKEN'
    )
  if isinstance(error, told.RepositoryNotFoundError):
    return (
      f'{endpoint} has no such repository, or it is private; check the name, '
      f'or log in by `hf auth login` or HF_TOKEN ({_who(hub)})'
    )
  if status == 401:
    return 'the Hub refuses the token of HF_TOKEN or `hf auth login`'
  if isinstance(error, told.OfflineModeIsEnabled):
    return (
      'it is not in the cache, and HF_HUB_OFFLINE is set; fetch it once where '
      f'there is a connection, into {hub.constants.HF_HUB_CACHE}'
    )
  if status is not None:
    said = ' '.join((getattr(error, 'server_message', None) or '').split())
    said = said.rstrip('.') and f': {said.rstrip(".")}'
    if status == 403:
      return f'the token may not do this on {endpoint}{said}'
    return f'{endpoint} answers {status}{said}'
  if isinstance(error, told.HTTPError | ConnectionError):
    return f'there is no connection to {endpoint}'
  if isinstance(error, OSError) and error.errno == errno.ENOSPC:
    return _no_room().rstrip('.')
  text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
  return ' '.join(text.split()).rstrip('.')


def _status(error):
  """Returns the HTTP status of an error; None: there was no answer."""
  return getattr(getattr(error, 'response', None), 'status_code', None)


def _who(hub):
  return 'no token is set' if hub.get_token() is None else 'a token is set'


def _no_room(size=None):
  what = f'{size / 1e6:,.1f} MB are to be fetched' if size else 'it is fetched'
  cache = library().constants.HF_HUB_CACHE
  return (
    f'{what} to {cache}, where there is no room; free some, or set '
    'HF_HUB_CACHE to a folder on another disk.'
  )


def _no_revision(address):
  """Returns what to say of a revision that is not there, with the nearest."""
  line = f'{SCHEME}{address.repo} has no revision {address.revision!r}.'
  try:
    refs = client().list_repo_refs(address.repo)
    names = {each.name for each in (*refs.branches, *refs.tags)}
  except Exception:  # It is only for the hint.
    names = set()
  if names:
    return f'{line} {errors.nearest(address.revision, names)}'
  return f'{line} Give a branch, a tag or a whole commit hash.'
