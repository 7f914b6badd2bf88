"""Pushes a folder of published weights to the Hugging Face Hub."""

import pathlib
import shlex

import vit_jax
from vit_jax import errors, files
from vit_jax.weights.files import hub, sharded
from vit_jax.weights.publishing import model_card

# Beside the files that are pushed, readers would take these for newer ones.
_STALE = (hub.CONFIG, hub.WEIGHTS, sharded.INDEX, *hub.OPTIONAL)


def check(repo, target, private=False):
  """Finds what would keep a folder from being pushed, before any work.

  Args:
    repo: 'OWNER/NAME'.
    target: path of the folder, which need not be there yet.
    private: whether nobody else may see the repository.

  Raises:
    UserError: nobody is logged in, the token is not valid, the repository is
      public and should not be, or the folder is not on a disk.
  """
  address = _address(repo)
  if files.is_remote(target):
    raise errors.UserError(
      f'--push={repo} takes a folder on a disk, and {target} is in a store; '
      'convert to a folder on a disk.'
    )
  library = hub.library()
  if library.get_token() is None:
    raise hub.HubError(
      f'--push={repo} needs a token that may write: log in by `hf auth login`, '
      'or set HF_TOKEN (https://huggingface.co/settings/tokens).'
    )
  api = hub.client()
  with hub.reported(address):
    api.whoami()
    try:
      info = api.model_info(repo)
    except library.errors.GatedRepoError:
      raise
    except library.errors.RepositoryNotFoundError:
      return  # It will be created.
  if private and not info.private:
    raise hub.HubError(
      f'--private: {repo} is there already and public; make it private in its '
      'settings, or give another --push=OWNER/NAME.'
    )


def push(repo, folder, private=False):
  """Pushes the files of a folder in one commit, and returns its address.

  The repository is made if it is not there. A model card that it has already
  stays; files of other weights, that would be read in place of these, go.

  Args:
    repo, private: see `check`.
    folder: path of a folder, of which every file is pushed.

  Raises:
    HubError: it says that the folder is there, and how to push it again.
  """
  try:
    with hub.reported(_address(repo)):
      return _push(repo, pathlib.Path(folder), private)
  except hub.HubError as error:
    create = ' --private' if private else ''
    raise hub.HubError(
      f'{error} The weights are in {folder}; to push them again: '
      f'hf upload{create} {repo} {shlex.quote(str(folder))} .'
    ) from error


def _push(repo, folder, private):
  library, api = hub.library(), hub.client()
  api.create_repo(repo, private=private or None, exist_ok=True)
  present = set(api.list_repo_files(repo))
  given = sorted(path.name for path in folder.iterdir() if path.is_file())
  operations = [
    library.CommitOperationAdd(name, str(folder / name))
    for name in given
    if name != model_card.FILE or name not in present
  ]
  operations += [
    library.CommitOperationDelete(name)
    for name in _STALE
    if name in present and name not in given
  ]
  commit = api.create_commit(
    repo,
    operations,
    commit_message=f'Add weights by vit_jax {vit_jax.__version__}',
  )
  kept = model_card.FILE in present and model_card.FILE in given
  stays = f'; its {model_card.FILE} stays as it was' if kept else ''
  return f'{library.constants.ENDPOINT}/{repo} (commit {commit.oid}){stays}'


def _address(repo):
  """Returns the `hub.Address` of 'OWNER/NAME'."""
  try:
    address = hub.parse(f'{hub.SCHEME}{repo.removeprefix(hub.SCHEME)}')
  except hub.HubError as error:
    raise hub.HubError(f'--push={repo} is not OWNER/NAME.') from error
  if address != hub.Address(repo):
    raise hub.HubError(f'--push={repo} is not OWNER/NAME.')
  return address
