"""The compilation cache: later starts skip compilation.

Cached programs are executed, so the directory must be writable only by its
owner: see 'Security' of JAX's persistent compilation cache.
"""

import os
import pathlib
import stat
import sys

import jax

from vit_jax import errors

FOLDER = '~/.cache/vit_jax/compilation'


def use():
  """Enables JAX's persistent compilation cache.

  The folder is that of JAX_COMPILATION_CACHE_DIR, else `FOLDER`. Of several
  processes, the first one writes; the others read it if they share the disk.

  Raises:
    UserError: others may write to the folder.
  """
  given = jax.config.jax_compilation_cache_dir
  if given and '://' in given:
    return  # The bucket's permissions decide who may write to it.
  folder = pathlib.Path(given or FOLDER).expanduser()
  try:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
  except OSError as error:
    print(
      f'vit_jax: compiled programs will not be cached: {folder} cannot be '
      f'created ({error.strerror}); JAX_COMPILATION_CACHE_DIR sets another.',
      file=sys.stderr,
    )
    jax.config.update('jax_compilation_cache_dir', None)
    return
  _check(folder, status)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  # JAX partitions cuDNN's attention by a Python function, whose address, which
  # differs between processes, is part of the cache key by default; the version
  # of JAX, also part of it, identifies the function well enough.
  jax.config.update('jax_remove_custom_partitioning_ptr_from_cache_key', True)
  # A start compiles many small programs beside the large ones.
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def _check(folder, status):
  others = stat.S_IWGRP | stat.S_IWOTH
  if status.st_mode & others or status.st_uid != os.geteuid():
    raise errors.UserError(
      f'Others may write to {folder}, and so make this process run any code: '
      f'make it yours alone (chmod 700 {folder}), or set another folder in '
      'JAX_COMPILATION_CACHE_DIR.'
    )
