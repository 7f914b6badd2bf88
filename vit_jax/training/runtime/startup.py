"""What makes a process start and step faster: set before JAX is used."""

import ctypes
import os
import pathlib
import stat
import sys

import jax

from vit_jax import errors, files
from vit_jax.files import cache
from vit_jax.sharding import mesh as meshes

_WRITE = stat.S_IWGRP | stat.S_IWOTH  # By others.

# From malloc.h of glibc: how many pieces come from the system one by one, and
# how much must be free at the end of the heap before that is given back.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1


def use_compilation_cache():
  """Has JAX cache compiled programs on the disk: later starts compile nothing.

  The folder is that of JAX_COMPILATION_CACHE_DIR, else compilation/ in that of
  `files.cache`. Of several processes, the first one writes; the others find it
  if they share the disk. Cached programs are executed, so nobody else may write
  to the folder: see 'Security' of JAX's persistent compilation cache.

  Raises:
    UserError: others may write to the folder, or it is of a store that can't
      be used here.
  """
  # JAX partitions cuDNN's attention by a Python function, whose address, which
  # differs between processes, is part of the cache key by default; the version
  # of JAX, also part of it, identifies the function well enough.
  jax.config.update('jax_remove_custom_partitioning_ptr_from_cache_key', True)
  given = jax.config.jax_compilation_cache_dir
  if given and files.is_remote(given):
    files.path(given)  # Whoever may write to it is for the bucket to say.
    return
  if given:
    folder = pathlib.Path(given).expanduser()
  else:
    folder = cache.folder() / 'compilation'
  try:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
  except OSError as error:
    print(
      f'vit_jax: compiled programs will not be cached: {folder} cannot be '
      f'created ({error.strerror}); JAX_COMPILATION_CACHE_DIR sets another.',
      file=sys.stderr,
    )
    jax.config.update('jax_compilation_cache_dir', None)
    return
  _check(folder)
  jax.config.update('jax_compilation_cache_dir', str(folder))
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
    UserError: see `sharding.mesh.devices`.
  """
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  library = ctypes.CDLL(None)
  if meshes.devices()[0].platform == 'cpu' and hasattr(library, 'mallopt'):
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)  # Never.


def _check(folder):
  """Raises UserError where others may write to a folder or what is in it.

  Those who may write to a folder above it may put another one in its place,
  unless it is sticky, as /tmp is.
  """
  folder = folder.resolve()
  status = folder.stat()
  unsafe = None
  if status.st_mode & _WRITE or status.st_uid != os.geteuid():
    unsafe = folder
  for parent in folder.parents:
    above = parent.stat()
    is_open = above.st_mode & _WRITE and not above.st_mode & stat.S_ISVTX
    if is_open or above.st_uid not in (0, os.geteuid()):
      unsafe = parent
  # Whoever may not enter the folder may not write to its files.
  group = stat.S_IWGRP if status.st_mode & stat.S_IXGRP else 0
  others = stat.S_IWOTH if status.st_mode & stat.S_IXOTH else 0
  for entry in os.scandir(folder):
    inside = entry.stat(follow_symlinks=False)
    is_open = inside.st_mode & (group | others) or entry.is_symlink()
    if is_open or inside.st_uid not in (0, os.geteuid()):
      unsafe = unsafe or pathlib.Path(entry.path)
  if unsafe:
    raise errors.UserError(
      f'Others may write to {unsafe}, and so make this process run any code: '
      f'make it yours alone (chmod 700 {unsafe}), or set another folder in '
      'JAX_COMPILATION_CACHE_DIR.'
    )
