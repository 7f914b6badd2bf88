"""The folder of the user's cache: downloads, copies, indices, programs.

It is that of VIT_JAX_CACHE, else $XDG_CACHE_HOME/vit_jax, by default
~/.cache/vit_jax. It may be removed whenever nobody uses it.
"""

import os
import pathlib

from vit_jax import errors, files

VARIABLE = 'VIT_JAX_CACHE'


def folder():
  """Returns the absolute path of the folder, which need not be there yet.

  Raises:
    UserError: VIT_JAX_CACHE is no folder of a disk.
  """
  given = os.environ.get(VARIABLE)
  if given and files.is_remote(given):
    raise errors.UserError(
      f'{VARIABLE}={given} is not on a disk, which the cache has to be; a '
      'store may hold JAX_COMPILATION_CACHE_DIR alone.'
    )
  if not given:
    home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    given = os.path.join(home, 'vit_jax')
  return pathlib.Path(given).expanduser().absolute()
