"""What makes a process start and step faster: set before JAX is used."""

import ctypes
import os
import pathlib
import stat
import sys

import jax

from vit_jax import errors
from vit_jax.sharding import mesh as meshes

FOLDER = '~/.cache/vit_jax/compilation'

# From malloc.h of glibc: how many pieces come from the system one by one, and
# how much must be free at the end of the heap before that is given back.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1


def use_compilation_cache():
  """Has JAX cache compiled programs on the disk: later starts compile nothing.

  The folder is that of JAX_COMPILATION_CACHE_DIR, else `FOLDER`. Of several
  processes, the first one writes; the others find it if they share the disk.
  Cached programs are executed, so nobody else may write to the folder: see
  'Security' of JAX's persistent compilation cache.

  Raises:
    UserError: others may write to the folder.
  """
  told = jax.config.jax_compilation_cache_dir
  if told and '://' in told:
    return  # Who may write to a bucket is the bucket's business.
  folder = pathlib.Path(told or FOLDER).expanduser()
  try:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
  except OSError as error:
    print(
      f'vit_jax: nothing that is compiled will be kept: {folder} cannot be '
      f'made ({error.strerror}); JAX_COMPILATION_CACHE_DIR names another.',
      file=sys.stderr,
    )
    jax.config.update('jax_compilation_cache_dir', None)
    return
  _check(folder, status)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  # A function of JAX's splits cuDNN's attention over devices. By default its
  # address, another one in each process, is part of what a program is known
  # by; the version of JAX, a part as well, tells all that matters of it.
  jax.config.update('jax_remove_custom_partitioning_ptr_from_cache_key', True)
  # A start compiles many small programs beside the large ones.
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def keep_freed_memory():
  """Has the C library keep what is freed, if this process computes on a CPU.

  A step takes hundreds of megabytes for what it computes in between. The C
  library gives so large a piece back to the system when it is freed, and gets
  the next one page by page, each of them cleared first: a fifth of the time of
  a small model's training step.

  Programs then run in the thread that calls them, where the main heap is: one
  at a time, so the heap grows by the memory of one. Call it before JAX looks
  for devices.

  Raises:
    UserError: as of `sharding.mesh.devices`.
  """
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  library = ctypes.CDLL(None)
  if meshes.devices()[0].platform == 'cpu' and hasattr(library, 'mallopt'):
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)  # Never.


def _check(folder, status):
  others = stat.S_IWGRP | stat.S_IWOTH
  if status.st_mode & others or status.st_uid != os.geteuid():
    raise errors.UserError(
      f'Others may write to {folder}, and with it make this process run what '
      f'they like: make it yours alone (chmod 700 {folder}), or name another '
      'folder in JAX_COMPILATION_CACHE_DIR.'
    )
